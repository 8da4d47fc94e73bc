"""D10: requests that attack the edge: smuggling, wrong encodings, millions of values; and clients of HTTP/1.0."""

from __future__ import annotations

import asyncio
import gzip
import json
import time

import aiohttp
import pytest

from tests.harness.processes.system import System
from tests.harness.requests.edge_client import chat_body, request
from tests.harness.requests.raw_http import POST_CHAT, answered, code_of, connected
from tests.harness.requests.replies import simulator_answer
from tests.harness.suite.waiting import until

BYTES = 8_000_000
LONGEST_S = 0.5
"""Decoding the worst of these bodies takes 1.5 s and more, in which nothing else is served; here the edge shares two
cores with other tests, while its own share is below 0.05 s."""


def filled(before: bytes, item: bytes, after: bytes, size: int = BYTES) -> bytes:
    return before + b",".join([item] * (size // (len(item) + 1))) + after


CHAT = b'{"model":"coding","messages":[{"role":"user","content":"hi"}],"x":['
MESSAGE = b'{"role":"user","content":"a"}'
FILLED = {
    "numbers": ("/v1/chat/completions", CHAT, b"0"),
    "objects": ("/v1/chat/completions", CHAT, b'{"a":{}}'),
    "texts": ("/v1/chat/completions", CHAT, b'"abc"'),
    "tools": ("/v1/chat/completions", CHAT.replace(b'"x"', b'"tools"'), b"{}"),
    "items": ("/v1/responses", b'{"model":"coding","input":[', MESSAGE),
    "blocks": ("/v1/messages", b'{"model":"coding","max_tokens":9,"messages":[', MESSAGE),
}
"""Path, beginning of the body, and what fills it."""


async def longest_answer_s(url: str, stopping: asyncio.Event) -> float:
    """The longest time for which a health check waited."""
    longest_s = 0.0
    async with aiohttp.ClientSession() as session:
        while not stopping.is_set():
            began_s = time.monotonic()
            async with session.get(f"{url}/healthz") as answer:
                assert answer.status == 200
            longest_s = max(longest_s, time.monotonic() - began_s)
            await asyncio.sleep(0.005)
    return longest_s


@pytest.mark.parametrize("name", FILLED)
async def test_d10_millions_of_values_are_refused_without_delay_for_others(url: str, name: str):
    path, before, item = FILLED[name]
    body = filled(before, item, b"]}")
    stopping = asyncio.Event()
    waited = asyncio.create_task(longest_answer_s(url, stopping))
    answer = await request("POST", url + path, data=body)
    stopping.set()
    assert answer.status == 400
    assert "more than 100,000 values" in answer.error["message"]
    assert await waited < LONGEST_S


@pytest.mark.parametrize("path", ["/v1/responses", "/v1/messages"])
async def test_d10_as_many_values_as_are_allowed_do_not_delay_others(url: str, path: str):
    """The translation of 30,000 messages takes longer than that, in a thread."""
    name, limit = ("input", "") if path == "/v1/responses" else ("messages", '"max_tokens":9,')
    head = f'{{"model":"coding",{limit}"{name}":['.encode()
    body = filled(head, MESSAGE, b"]}", size=900_000)
    stopping = asyncio.Event()
    waited = asyncio.create_task(longest_answer_s(url, stopping))
    answer = await request("POST", url + path, data=body)
    stopping.set()
    assert answer.status == 200, answer.body
    assert await waited < LONGEST_S


BODY = json.dumps(chat_body("Hello")).encode()
HIDDEN = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n"
"""A second request, which an attacker hides in the body of the first."""
CHUNKED = b"transfer-encoding: chunked\r\n\r\n"


def with_length(body: bytes) -> bytes:
    return b"content-length: %d\r\n\r\n%s" % (len(body), body)


def chunk(body: bytes, size: bytes = b"") -> bytes:
    return b"%s\r\n%s\r\n0\r\n\r\n" % (size or b"%x" % len(body), body)


@pytest.mark.parametrize(
    "rest",
    [
        b"transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n",
        b"content-length: %d\r\n%s" % (len(BODY), with_length(BODY)),
        b"content-length: %d, %d\r\n\r\n%s" % (len(BODY), len(BODY), BODY),
        b"content-length: +%d\r\n\r\n%s" % (len(BODY), BODY),
        b"content-length: 0x10\r\n\r\n",
        b"content-length: 99999999999999999999999\r\n\r\n",
        b"content-length: \r\n\r\n",
        b"content-length : 5\r\n\r\n",
        b"content-length:\r\n 5\r\n\r\n",
        b"transfer-encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
        b"x: y\r\n folded\r\n" + with_length(BODY),
        b"x: y\n" + with_length(BODY),
        b"x: y\rtransfer-encoding: chunked\r\n" + with_length(BODY),
        with_length(BODY).replace(b"\r\n", b"\n"),
        b"transfer-encoding: identity\r\n" + with_length(BODY),
        b"transfer-encoding: gzip\r\n\r\n",
        b"transfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
        b"transfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
        b"transfer-encoding: chunked\r\n" + CHUNKED + chunk(BODY),
        CHUNKED + chunk(BODY, b"-5"),
        CHUNKED + chunk(BODY, b"0x5"),
        CHUNKED + chunk(BODY, b"5 "),
        CHUNKED + chunk(BODY, b"10000000000000000"),
        CHUNKED + chunk(BODY, b"%x;a\nb" % len(BODY)),
        CHUNKED + chunk(BODY).replace(b"\r\n", b"\n"),
        CHUNKED + chunk(BODY + b"X", b"%x" % len(BODY)),
    ],
)
async def test_d10_ambiguous_framing_is_a_400_and_what_follows_is_no_request(url: str, rest: bytes):
    answer = await answered(url, POST_CHAT + rest + HIDDEN)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert code_of(answer) == "invalid_request"


@pytest.mark.parametrize("extension", [b"", b";a=b", b';a="b\\"c"', b";" + b"a" * 60_000])
async def test_d10_extensions_of_chunks_are_ignored(url: str, extension: bytes):
    sent = chunk(BODY, b"%x%s" % (len(BODY), extension))
    answer = await answered(url, POST_CHAT + b"connection: close\r\n" + CHUNKED + sent)
    assert answer.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("hosts", [b"", b"host: localhost\r\nhost: localhost\r\n"])
async def test_d10_a_request_without_one_host_is_a_400(url: str, hosts: bytes):
    answer = await answered(url, b"GET /healthz HTTP/1.1\r\n%s\r\n%s" % (hosts, HIDDEN))
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert code_of(answer) == "invalid_request"


async def test_d10_a_compressed_body_without_a_header_is_a_415_too(url: str):
    answer = await request("POST", f"{url}/v1/chat/completions", data=gzip.compress(BODY))
    assert answer.status == 415
    assert "gzip" in answer.error["message"]


@pytest.mark.parametrize(
    "headers",
    [{"content-encoding": "gzip"}, {"content-encoding": "br"}, {"transfer-encoding": "gzip, chunked"}],
)
async def test_d10_a_compressed_body_is_a_415_that_names_the_header(url: str, headers: dict[str, str]):
    ((name, value),) = headers.items()
    compressed = gzip.compress(BODY)
    framed = chunk(compressed) if name == "transfer-encoding" else with_length(compressed)
    raw = POST_CHAT + f"connection: close\r\n{name}: {value}\r\n".encode()
    answer = await answered(url, raw + (b"\r\n" if name == "transfer-encoding" else b"") + framed)
    assert answer.startswith(b"HTTP/1.1 415 ")
    assert name.encode() in answer.partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize(
    "body",
    [
        BODY.decode().encode("utf-16"),
        BODY.decode().encode("utf-16-le"),
        BODY.decode().encode("utf-32"),
        b"\xef\xbb\xbf" + BODY,
        BODY.replace(b"Hello", b"H\xe9llo"),
        BODY.replace(b"Hello", b"\xc0\xaf"),
        BODY.replace(b"Hello", b"\xed\xa0\xbd\xed\xb8\x80"),
        BODY[:-1] + b',"temperature":-1e400}',
        BODY[:-1] + b',"temperature":NaN}',
        BODY[:-1] + b',"seed":' + b"9" * 5_000 + b"}",
        BODY[:-1] + b',"max_tokens":99999999999999999999}',
    ],
)
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/v1/responses"])
async def test_d10_wrong_encodings_and_huge_numbers_are_a_400(url: str, path: str, body: bytes):
    answer = await request("POST", url + path, data=body)
    assert answer.status == 400
    assert answer.error["message"]


async def test_d10_a_misspelled_option_is_a_400_before_the_body_is_sent(url: str):
    head = POST_CHAT + b"x-penstock-resque: hold\r\ncontent-length: 1000000\r\n\r\n"
    loop, answer = asyncio.get_running_loop(), b""
    async with connected(url) as opened, asyncio.timeout(10):
        await loop.sock_sendall(opened, head)
        while b"did you mean x-penstock-rescue?" not in answer:
            answer += await loop.sock_recv(opened, 65_536)
    assert answer.startswith(b"HTTP/1.1 400 ")


async def test_k2_a_client_of_http_1_0_gets_plain_bodies(url: str, system: System):
    head = POST_CHAT.replace(b"1.1", b"1.0") + b"expect: 100-continue\r\n"
    whole = await answered(url, head + with_length(BODY))
    streamed = await answered(url, head + with_length(json.dumps(chat_body("Hello", stream=True)).encode()))
    for answer in (whole, streamed):
        received, _, body = answer.partition(b"\r\n\r\n")
        assert received.startswith(b"HTTP/1.1 200 "), "a client of HTTP/1.0 takes no interim response"
        assert b"transfer-encoding" not in received
        assert b"connection: close" in received
    assert json.loads(whole.partition(b"\r\n\r\n")[2])["choices"][0]["message"]["content"]
    assert body.startswith(b"id: 0-")
    assert body.endswith(b"data: [DONE]\n\n")
    text = "".join(
        json.loads(line[6:])["choices"][0]["delta"].get("content", "")
        for line in body.decode().splitlines()
        if line.startswith("data: {")
    )
    assert text == await simulator_answer(system, "coder", "Hello")


@pytest.mark.parametrize("stream", [False, True])
async def test_d8_a_client_that_closes_its_sending_side_has_hung_up(
    url: str, system: System, *, stream: bool
):
    """Until something is sent, TCP does not tell this from a closed connection, and hanging up cancels at once."""
    await system.sim("POST", "reset")
    await system.sim("PUT", "speed", {"tokens_per_second": 50, "first_token_ms": 300})
    body = json.dumps(chat_body("Hello [[tokens=500]]", stream=stream)).encode()
    answer = await answered(url, POST_CHAT + with_length(body), pause_s=0.2, half_close=True)
    assert b"[DONE]" not in answer
    await until(lambda: has_cancelled(system))
    await system.sim("PUT", "speed", {"tokens_per_second": 0, "first_token_ms": 0})


async def has_cancelled(system: System) -> bool:
    counts = await system.sim("GET", "counts")
    return bool(counts["models"].get("coder", {}).get("cancelled", 0) > 0)
