"""HTTP itself: routes, limits, hostile requests, health and the list of models."""

from __future__ import annotations

import asyncio
import json
import re
import time
from typing import Any

import openai
import pytest

from penstock.contract.streams import MAX_REQUEST_BYTES
from tests.harness.processes.catalogues import ROLES
from tests.harness.processes.system import System, started
from tests.harness.requests.edge_client import chat_body, open_stream, request
from tests.harness.requests.raw_http import POST_CHAT as HEAD
from tests.harness.requests.raw_http import answered, code_of, connected
from tests.harness.suite.waiting import until

LIMITS = {
    "PENSTOCK_EDGE_BODY_BYTES": "20000",
    "PENSTOCK_EDGE_HEADER_BYTES": "4096",
    "PENSTOCK_EDGE_READ_S": "1",
    "PENSTOCK_EDGE_WRITE_S": "1",
    "PENSTOCK_EDGE_CORS_ORIGINS": "https://app.example",
}


@pytest.fixture(scope="module")
def strict_url(system: System) -> str:
    """An edge with small limits."""
    return str(started(system.new_edge(**LIMITS)).ready["url"])


async def assert_healthy(url: str) -> None:
    answer = await request("POST", f"{url}/v1/chat/completions", chat_body("Still there?"))
    assert answer.status == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/", 404, "not_found"),
        ("GET", "/v1", 404, "not_found"),
        ("PUT", "/v1/chat/completions/", 405, "method_not_allowed"),
        ("GET", "/v1/chat/completions", 405, "method_not_allowed"),
        ("DELETE", "/v1/models", 405, "method_not_allowed"),
        ("POST", "/chat/completions", 404, "not_found"),
        ("GET", "/v1/models/no-such-model", 404, "model_not_found"),
        ("GET", "/%00/..%2f", 404, "not_found"),
    ],
)
async def test_d10_other_routes_and_methods_are_openai_errors(
    url: str, method: str, path: str, status: int, code: str
):
    answer = await request(method, url + path)
    assert (answer.status, answer.error["code"]) == (status, code)
    assert set(answer.error) == {"message", "type", "param", "code"}
    assert ("allow" in answer.headers) == (status == 405)


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b'"text"',
        b"\x00\xff\xfe",
        b'{"model":"coding","messages":' + b"[" * 50_000 + b"]" * 50_000 + b"}",
        b'{"model":"coding","messages":[{"role":"user","content":"\\udc00"}]}',
        b'{"model":"coding","messages":[{"role":"user","content":"hi"}],"seed":1e999}',
        '{"model":"coding","messages":[]}'.encode("utf-16"),
        b"model=coding&messages=hi",
    ],
)
async def test_d10_a_hostile_body_is_a_400_that_names_a_field(url: str, body: bytes):
    answer = await request("POST", f"{url}/v1/chat/completions", data=body)
    assert (answer.status, answer.error["code"]) == (400, "invalid_request")
    assert answer.error["param"]
    assert answer.error["message"]
    await assert_healthy(url)


async def test_d10_an_empty_body_is_called_empty(url: str):
    answer = await request("POST", f"{url}/v1/chat/completions", data=b"")
    assert (answer.status, answer.error["code"]) == (400, "invalid_request")
    assert "is empty" in answer.error["message"]


async def test_d10_a_misspelled_query_parameter_is_a_400(url: str):
    answer = await request("GET", f"{url}/v1/jobs?status=running")
    assert (answer.status, answer.error["param"]) == (400, "status")
    assert "did you mean state?" in answer.error["message"]
    answer = await request("GET", f"{url}/v1/chat/completions/chatcmpl-1?after=3")
    assert "starting_after" in answer.error["message"]


async def test_k2_an_address_without_v1_is_told_the_right_one(url: str):
    answer = await request("POST", f"{url}/chat/completions", chat_body("Hello"))
    assert (answer.status, answer.error["code"]) == (404, "not_found")
    assert "did you mean /v1/chat/completions?" in answer.error["message"]
    assert (await request("POST", f"{url}/v1/chat/completions/", chat_body("Hello"))).status == 200


@pytest.mark.parametrize("name", ["model", "messages"])
async def test_d10_a_missing_field_is_named(url: str, name: str):
    body = chat_body("Hello")
    del body[name]
    answer = await request("POST", f"{url}/v1/chat/completions", body)
    assert (answer.status, answer.error["param"]) == (400, name)


async def test_d10_messages_that_the_router_rejects_are_a_400(url: str):
    body = {"model": "coding", "messages": [{"role": "user", "content": {"a": 1}}], "n": -1}
    answer = await request("POST", f"{url}/v1/chat/completions", body)
    assert answer.status == 400


@pytest.mark.parametrize("size", [20_001, 60_000, 400_000])
async def test_d10_a_large_body_is_a_413(strict_url: str, size: int):
    body = json.dumps(chat_body("x" * size)).encode()
    answer = await request("POST", f"{strict_url}/v1/chat/completions", data=body)
    assert (answer.status, answer.error["code"]) == (413, "request_too_large")
    assert "20,000 bytes" in answer.error["message"]
    await assert_healthy(strict_url)


async def test_d10_a_large_chunked_body_is_a_413_as_well(strict_url: str):
    chunk = b"2000\r\n" + b" " * 0x2000 + b"\r\n"
    head = HEAD + b"connection: close\r\ntransfer-encoding: chunked\r\n\r\n"
    assert (await answered(strict_url, head + chunk * 4 + b"0\r\n\r\n")).startswith(b"HTTP/1.1 413 ")


async def test_d10_an_endless_body_is_a_413_and_then_cut(strict_url: str):
    head = HEAD + b"transfer-encoding: chunked\r\n\r\n"
    chunks = [b"2000\r\n" + b" " * 0x2000 + b"\r\n"] * 10
    assert (await answered(strict_url, head, *chunks, pause_s=0.05)).startswith(b"HTTP/1.1 413 ")


async def test_d10_a_large_body_that_waits_for_100_continue_is_not_sent(strict_url: str):
    head = HEAD + b"content-length: 9000000\r\nexpect: 100-continue\r\n\r\n"
    answer = await answered(strict_url, head)
    assert answer.startswith(b"HTTP/1.1 413 ")


async def test_d10_a_body_at_the_limit_of_a_message_passes_the_edge(url: str):
    """The request with its envelope is not within that limit. Two million tokens are too many for every model."""
    body = json.dumps(chat_body("x" * (MAX_REQUEST_BYTES - 100))).encode()
    answer = await request("POST", f"{url}/v1/chat/completions", data=body)
    assert (answer.status, answer.error["code"]) == (400, "context_length_exceeded")


async def test_e1_a_body_of_several_megabytes_is_answered(url: str):
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 3_000_000}}
    body = {"model": "vision", "messages": [{"role": "user", "content": [image]}]}
    answer = await request("POST", f"{url}/v1/chat/completions", body)
    assert answer.status == 200


async def test_d10_a_slow_body_is_a_408(strict_url: str):
    began_s = time.monotonic()
    answer = await answered(strict_url, HEAD + b"content-length: 500\r\n\r\n{", b'"model"', pause_s=0.4)
    assert b" 408 " in answer.partition(b"\r\n")[0]
    assert b'"code":"request_timeout"' in answer
    assert time.monotonic() - began_s < 8


async def test_d10_slow_headers_are_a_408(strict_url: str):
    answer = await answered(strict_url, b"POST /v1/chat", b"/completions HTTP/1.1\r\nhost", pause_s=0.4)
    assert b" 408 " in answer.partition(b"\r\n")[0]
    assert code_of(answer) == "request_timeout"


@pytest.mark.parametrize(
    "head",
    [
        HEAD + b"x-flood: " + b"a" * 100_000,
        HEAD + b"".join(b"x-%d: a\r\n" % n for n in range(2_000)),
        b"POST /" + b"a" * 100_000,
    ],
)
async def test_d10_an_endless_request_head_is_a_431(strict_url: str, head: bytes):
    answer = await answered(strict_url, *(head[n : n + 1_000] for n in range(0, 50_000, 1_000)))
    assert b" 431 " in answer.partition(b"\r\n")[0]
    assert code_of(answer) == "headers_too_large"
    assert b"x-should-retry: false\r\n" in answer
    assert b"\r\nx-request-id: " in answer
    await assert_healthy(strict_url)


async def test_d10_a_large_complete_head_is_a_431(strict_url: str):
    head = HEAD + b"".join(b"x-%d: %s\r\n" % (n, b"a" * 1_000) for n in range(10))
    answer = await answered(strict_url, head + b"content-length: 2\r\n\r\n{}")
    assert b" 431 " in answer.partition(b"\r\n")[0]
    assert code_of(answer) == "headers_too_large"


@pytest.mark.parametrize(
    "raw",
    [
        HEAD + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"content-length: 2\r\ncontent-length: 3\r\n\r\n{}",
        HEAD + b"content-length: -1\r\n\r\n",
        HEAD + b"content-length: 2e1\r\n\r\n{}",
        HEAD + b"transfer-encoding: chunked\r\n\r\nzz\r\n",
        HEAD + b"transfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
        HEAD + b"x y: z\r\n\r\n",
        HEAD + b"x: a\x00b\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/9.9\r\n\r\n",
        b"HELLO\r\n\r\n",
        "GET /é HTTP/1.1\r\nhost: localhost\r\n\r\n".encode(),
        b"GET http://[::1 HTTP/1.1\r\nhost: localhost\r\n\r\n",
    ],
)
async def test_d10_what_is_not_http_is_a_400(url: str, raw: bytes):
    answer = await answered(url, raw)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert code_of(answer) == "invalid_request"
    await assert_healthy(url)


async def test_d8_a_pipelined_request_ends_the_connection_unread(url: str):
    """Reading it ahead would hide that the client hangs up, and the first request would not be cancelled."""
    body = json.dumps(chat_body("Hello")).encode()
    one = HEAD + b"content-length: %d\r\n\r\n%s" % (len(body), body)
    answer = await answered(url, one + one)
    assert answer.count(b"HTTP/1.1 200 ") == 1
    assert b"connection: close" in answer.lower()


@pytest.mark.parametrize("protocol", [b"websocket", b"h2c"])
async def test_d10_an_upgrade_is_a_501_and_its_body_is_no_request(url: str, protocol: bytes):
    """The parser takes what follows for the other protocol, so that a body would be read as the next request."""
    hidden = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n"
    head = HEAD + b"connection: upgrade\r\nupgrade: %s\r\ncontent-length: %d\r\n\r\n" % (
        protocol,
        len(hidden),
    )
    answer = await answered(url, head, hidden)
    assert answer.startswith(b"HTTP/1.1 501 ")
    assert code_of(answer) == "upgrade_not_served"
    assert b"x-should-retry: false\r\n" in answer
    assert b"x-should-retry: false" in answer
    assert answer.count(b"HTTP/1.1 ") == 1


async def test_d10_trailers_are_no_headers(url: str):
    body = json.dumps(chat_body("Hello")).encode()
    head = HEAD + b"transfer-encoding: chunked\r\nconnection: close\r\n\r\n"
    trailers = b"x-penstock-lane: none\r\nauthorization: Bearer psk_none\r\n\r\n"
    answer = await answered(url, head + b"%x\r\n%s\r\n0\r\n" % (len(body), body) + trailers)
    assert answer.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("trailers", [b"a: b\r\n" * 200, b"a" * 1_000], ids=("many", "one without end"))
async def test_d10_endless_trailers_end_the_connection(strict_url: str, trailers: bytes):
    head = b"POST /nope HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n0\r\n"
    answer = await answered(strict_url, head, *[trailers] * 200)
    assert answer.count(b"HTTP/1.1 ") == 1
    await assert_healthy(strict_url)


async def test_d10_a_refused_request_with_a_slow_body_does_not_keep_its_connection(strict_url: str):
    began_s = time.monotonic()
    head = b"POST /nope HTTP/1.1\r\nhost: localhost\r\ncontent-length: 500\r\n\r\n"
    answer = await answered(strict_url, head, *[b"{"] * 60, pause_s=0.2)
    assert b" 404 " in answer.partition(b"\r\n")[0]
    assert time.monotonic() - began_s < 8


async def test_d10_a_wrong_option_is_a_400(url: str):
    answer = await request(
        "POST", f"{url}/v1/chat/completions", chat_body("Hello"), headers={"x-penstock-resque": "hold"}
    )
    assert (answer.status, answer.error["param"]) == (400, "x-penstock-resque")


async def test_k2_cors_is_off_unless_an_origin_is_configured(url: str, strict_url: str):
    headers = {"origin": "https://app.example", "access-control-request-method": "POST"}
    path = "/v1/chat/completions"
    assert (await request("OPTIONS", url + path, headers=headers)).status == 405
    preflight = await request("OPTIONS", strict_url + path, headers=headers)
    assert preflight.status == 204
    assert preflight.headers["access-control-allow-origin"] == "https://app.example"
    assert "POST" in preflight.headers["access-control-allow-methods"]
    answer = await request("POST", strict_url + path, chat_body("Hello"), headers=headers)
    assert answer.headers["access-control-allow-origin"] == "https://app.example"
    exposed = set(answer.headers["access-control-expose-headers"].split(", "))
    assert {name for name in answer.headers if name.startswith("x-")} <= exposed
    failed = await request("POST", strict_url + path, data=b"{", headers=headers)
    assert failed.headers["access-control-allow-origin"] == "https://app.example"
    other = await request("OPTIONS", strict_url + path, headers={"origin": "https://evil.example"})
    assert other.status == 405


async def test_d10_a_reader_that_stops_is_disconnected(strict_url: str):
    """The answer is larger than the buffers of the kernel."""
    body = json.dumps(chat_body("Everything [[tokens=999999]]")).encode()
    async with connected(strict_url, receive_bytes=4_096) as opened:
        before = await closed_by_client(strict_url)
        head = HEAD + b"content-length: %d\r\n\r\n" % len(body)
        await asyncio.get_running_loop().sock_sendall(opened, head + body)

        async def was_closed() -> bool:
            return await closed_by_client(strict_url) == before + 1

        await until(was_closed)


async def closed_by_client(url: str) -> float:
    """The number of requests whose connection ended before the answer did."""
    metrics = (await request("GET", f"{url}/metrics")).body.decode()
    found = re.search(r'requests_total{route="/v1/chat/completions",status="499"} (.*)', metrics)
    return 0 if found is None else float(found[1])


async def test_k4_health_readiness_and_metrics(url: str):
    assert (await request("GET", f"{url}/healthz")).json == {"status": "ok"}
    assert (await request("HEAD", f"{url}/healthz")).status == 200
    ready = await request("GET", f"{url}/readyz")
    assert (ready.status, ready.json) == (200, {"status": "ready", "missing": []})
    async with open_stream("POST", f"{url}/v1/chat/completions", chat_body("Hi", stream=True)) as stream:
        assert [event async for event in stream.events()]
    metrics = (await request("GET", f"{url}/metrics")).body.decode()
    for line in (
        'penstock_edge_requests_total{route="/v1/chat/completions",status="200"}',
        'penstock_edge_first_byte_seconds_count{route="/v1/chat/completions"}',
        'penstock_edge_open_requests{route="/v1/chat/completions"} 0.0',
        "process_resident_memory_bytes",
    ):
        assert line in metrics


async def test_k2_models_lists_auto_the_roles_and_the_models(ai: openai.AsyncOpenAI):
    models = {model.id: model async for model in ai.models.list()}
    assert models.keys() > {"auto", "poet", *ROLES, "coder", "poet--cut=5"}
    about: Any = {name: model.to_dict()["penstock"] for name, model in models.items()}
    assert (about["coding"]["kind"], about["coder"]["kind"]) == ("role", "model")
    assert all(each["available"] for each in about.values())
    assert (await ai.models.retrieve("coding")).owned_by == "penstock"
    assert (await ai.models.retrieve("coder")).id == "coder"


async def test_k5_a_page_with_a_rebound_name_reads_no_answer_of_an_edge_without_keys(url: str):
    head = HEAD.replace(b"host: localhost", b"host: evil.example:8080\r\nconnection: close")
    data = json.dumps(chat_body("Hello")).encode()
    answer = await answered(url, head + b"content-length: %d\r\n\r\n" % len(data) + data)
    assert answer.startswith(b"HTTP/1.1 421")
    assert b"misdirected_request" in answer
