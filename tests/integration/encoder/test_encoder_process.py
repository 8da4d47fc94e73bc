"""An encoder as its own process, asked with OpenAI's SDK and with plain HTTP."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from penstock.runtime.processes.pdeathsig import die_with_parent

ROOT = Path(__file__).parents[3]
MODEL = "local-multilingual"


class Encoder:
    def __init__(self, **variables: str):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "services.encoder", "--port", "0"],
            cwd=ROOT,
            env={**os.environ, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=die_with_parent(),  # noqa: PLW1509 - allocates nothing, see there
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError(self.process.communicate(timeout=20)[1])
        self.url = json.loads(line)["url"]

    def post(self, body: bytes, path: str = "/v1/embeddings") -> tuple[int, dict[str, str], bytes]:
        try:
            with urllib.request.urlopen(f"{self.url}{path}", body, timeout=60) as response:  # noqa: S310 - its own address
                return response.status, dict(response.headers), response.read()
        except urllib.error.HTTPError as error:
            return error.code, dict(error.headers), error.read()

    def get(self, path: str) -> str:
        with urllib.request.urlopen(f"{self.url}{path}", timeout=20) as response:  # noqa: S310 - its own address
            return response.read().decode()

    def stop(self) -> tuple[int, str]:
        self.process.terminate()
        _, errors = self.process.communicate(timeout=40)
        return self.process.returncode, errors


@pytest.fixture(scope="module")
def encoder() -> Iterator[Encoder]:
    started = Encoder(PENSTOCK_ENCODER_QUEUE_CHARACTERS="120000", PENSTOCK_ENCODER_BODY_BYTES="1000000")
    yield started
    code, errors = started.stop()
    assert (code, errors) == (0, "")


def until_it_encodes(encoder: Encoder) -> None:
    deadline = time.monotonic() + 20
    while "queued_characters 0.0" in encoder.get("/metrics"):
        assert time.monotonic() < deadline, "no request is in progress"
        time.sleep(0.01)


def hung_up(encoder: Encoder) -> float:
    found = re.search(r'requests_total\{status="499"\} (\S+)', encoder.get("/metrics"))
    return float(found[1]) if found else 0.0


def body(texts: list[str], **fields: object) -> bytes:
    return json.dumps({"model": MODEL, "input": texts, **fields}).encode()


def test_h2_the_sdk_reads_vectors_that_find_by_meaning(encoder: Encoder):
    with openai.OpenAI(base_url=f"{encoder.url}/v1", api_key="any") as client:
        texts = ["Как испечь хлеб?", "Knead the dough and bake it.", "The certificate had expired."]
        found = client.embeddings.create(model=MODEL, input=texts)
        plain = client.embeddings.create(model=MODEL, input=texts, encoding_format="float", dimensions=512)
        assert [model.id for model in client.models.list()] == [MODEL]
    question, dough, certificate = (each.embedding for each in found.data)
    assert len(question) == 512

    def cosine(one: list[float], other: list[float]) -> float:
        return sum(x * y for x, y in zip(one, other, strict=True))

    assert cosine(question, dough) > 0.3 > cosine(question, certificate)
    assert cosine(plain.data[0].embedding, question) == pytest.approx(1, abs=1e-3)


def test_h2_a_body_above_the_limit_is_refused_with_and_without_its_length(encoder: Encoder):
    assert encoder.post(b" " * 1_000_001)[0] == 413
    host, port = encoder.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(
            b"POST /v1/embeddings HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
            + (b"8000\r\n" + b" " * 0x8000 + b"\r\n") * 31
            + b"0\r\n\r\n"
        )
        assert connection.recv(1_000).startswith(b"HTTP/1.1 413")


def test_h2_beyond_the_queue_a_request_gets_429_with_a_time(encoder: Encoder):
    long = body(["слово " * 100] * 100)
    first = threading.Thread(target=encoder.post, args=(long,))
    first.start()
    deadline = time.monotonic() + 20
    status, headers, answer = encoder.post(body(["x"]))
    while status == 200 and time.monotonic() < deadline:
        status, headers, answer = encoder.post(body(["слово " * 100] * 101))
        if not first.is_alive():
            first = threading.Thread(target=encoder.post, args=(long,))
            first.start()
    assert status == 429, answer
    assert int({name.lower(): value for name, value in headers.items()}["retry-after"]) >= 1
    assert json.loads(answer)["error"]["code"] == "rate_limit_exceeded"
    first.join()
    assert encoder.post(body(["again"]))[0] == 200


def test_h2_health_and_metrics_answer_while_texts_are_encoded(encoder: Encoder):
    busy = threading.Thread(target=encoder.post, args=(body(["слово " * 100] * 100),))
    busy.start()
    slowest = 0.0
    while busy.is_alive():
        began = time.monotonic()
        assert encoder.get("/healthz") == "ok\n"
        slowest = max(slowest, time.monotonic() - began)
        time.sleep(0.01)
    assert slowest < 1
    assert 'penstock_encoder_requests_total{status="200"}' in encoder.get("/metrics")


def test_h2_unknown_paths_and_methods_are_errors_in_openais_shape(encoder: Encoder):
    for status, path in ((404, "/v1/nothing"), (405, "/v1/models")):
        found, _, answer = encoder.post(b"{}", path)
        assert found == status
        assert json.loads(answer)["error"]["type"] == "invalid_request_error"


def test_h2_on_sigterm_the_request_in_progress_is_answered():
    encoder = Encoder()
    answers: list[int] = []
    asking = threading.Thread(target=lambda: answers.append(encoder.post(body(["слово " * 100] * 80))[0]))
    asking.start()
    until_it_encodes(encoder)
    assert encoder.stop() == (0, "")
    asking.join()
    assert answers == [200]


def test_h2_a_client_that_hangs_up_leaves_no_work(encoder: Encoder):
    host, port = encoder.url.removeprefix("http://").split(":")
    long = body(["слово " * 100] * 150)
    before = hung_up(encoder)
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(
            b"POST /v1/embeddings HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(long)
        )
        connection.sendall(long)
        until_it_encodes(encoder)
    deadline = time.monotonic() + 10
    while "queued_characters 0.0" not in encoder.get("/metrics"):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert hung_up(encoder) == before + 1
