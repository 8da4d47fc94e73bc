"""E1: curl, as a person in a terminal or a shell script uses it."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import Any

import pytest

pytestmark = pytest.mark.prove

QUESTION = "Why is the sky blue?"


def curl(*arguments: str) -> subprocess.CompletedProcess[str]:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    return subprocess.run(
        ["curl", "-sS", "--max-time", "30", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=40,
    )


def body(model: str = "chat", **fields: Any) -> str:
    return json.dumps({"model": model, "messages": [{"role": "user", "content": QUESTION}], **fields})


def texts(stream: str) -> list[str]:
    lines = [line.removeprefix("data: ") for line in stream.splitlines() if line.startswith("data: {")]
    choices = [choice for line in lines for choice in json.loads(line)["choices"]]
    return [choice["delta"].get("content") or "" for choice in choices]


def test_e1_curl_prints_a_whole_answer(url: str):
    done = curl(f"{url}/v1/chat/completions", "-H", "content-type: application/json", "-d", body())
    assert done.returncode == 0, done.stderr
    assert QUESTION in json.loads(done.stdout)["choices"][0]["message"]["content"]


def test_d10_curl_without_the_content_type_is_told_to_send_it(url: str):
    """-d alone sends that of a form, which pages of any origin may send."""
    done = curl("-w", "\n%{http_code}", f"{url}/v1/chat/completions", "-d", body())
    answer, _, status = done.stdout.rpartition("\n")
    assert (status, json.loads(answer)["error"]["code"]) == ("415", "unsupported_media_type")
    assert "content-type: application/json" in json.loads(answer)["error"]["message"]


def test_e1_curl_prints_a_stream_as_it_comes(url: str):
    done = curl("-N", "-i", f"{url}/v1/chat/completions", "--json", body(stream=True))
    assert done.returncode == 0, done.stderr
    head, _, stream = done.stdout.partition("\n\n")
    assert "content-type: text/event-stream" in head.lower()
    assert QUESTION in "".join(texts(stream))
    assert stream.rstrip().endswith("data: [DONE]")


def test_e2_curl_reads_the_rest_of_a_stream(url: str):
    done = curl("-N", f"{url}/v1/chat/completions", "--json", body(stream=True))
    first, second, *_ = (
        line.partition(": ")[2] for line in done.stdout.splitlines() if line.startswith("id: ")
    )
    answer = next(
        json.loads(line[6:])["id"] for line in done.stdout.splitlines() if line.startswith("data: {")
    )
    rest = curl("-N", f"{url}/v1/chat/completions/{answer}", "-H", f"Last-Event-ID: {first}")
    assert rest.stdout.startswith(f"id: {second}\n")
    assert texts(rest.stdout) == texts(done.stdout)[1:]


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (body("nothing"), 404, "unknown_role"),
        ("{", 400, "invalid_request"),
        (body(messages=[]), 400, "invalid_request"),
    ],
    ids=["unknown model", "not JSON", "no messages"],
)
def test_d10_curl_gets_the_status_and_a_readable_error(url: str, data: str, status: int, code: str):
    done = curl("-w", "\n%{http_code}", f"{url}/v1/chat/completions", "--json", data)
    answer, _, number = done.stdout.rpartition("\n")
    assert (int(number), json.loads(answer)["error"]["code"]) == (status, code)
    failed = curl("--fail", f"{url}/v1/chat/completions", "--json", data)
    assert failed.returncode == 22


def test_e1_curl_may_send_a_chunked_body_ask_first_or_use_http_1_0(url: str):
    """With `Expect: 100-continue` curl waits for the permission of the server."""
    for flags in (["-H", "Transfer-Encoding: chunked"], ["-H", "Expect: 100-continue"], ["--http1.0"]):
        done = curl(*flags, f"{url}/v1/chat/completions", "--json", body())
        assert done.returncode == 0, (flags, done.stderr)
        assert json.loads(done.stdout)["choices"], flags


def test_k2_curl_lists_the_models(url: str):
    listed = json.loads(curl(f"{url}/v1/models").stdout)["data"]
    assert {"auto", "chat"} <= {model["id"] for model in listed}
