"""K5: no API key gets into a log line, trace, metric, stored event or error, wherever a client puts it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import nats
import pytest

from penstock.bus.direct_get import read_all
from penstock.contract.streams import AUDIT, CANCELS, DEAD, EVENTS, JOBS, KEYS, PRESENCE
from penstock.runtime.api_keys.format import make_key
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.edge_keys import answers, new_key
from tests.harness.processes.process import Process
from tests.harness.processes.system import System, running_system
from tests.harness.requests.edge_client import Response, chat_body, request
from tests.harness.suite.waiting import until

CHAT = "/v1/chat/completions"
UNKNOWN = make_key()
"""A key of another system."""


class Sent(NamedTuple):
    method: str
    path: str
    headers: dict[str, str] = {}  # noqa: RUF012 - never changed
    body: object = None
    data: bytes | None = None


def misuses(key: str) -> list[Sent]:
    """Requests with the key in a place where it does not belong."""
    body = chat_body("Hello")
    return [
        *(
            Sent(method, f"{path}?api_key={key}", {}, body if method == "POST" else None)
            for method, path in (
                ("POST", CHAT),
                ("GET", "/v1/models"),
                ("GET", "/healthz"),
                ("GET", "/readyz"),
                ("GET", "/metrics"),
                ("DELETE", "/v1/models"),
                ("GET", "/nowhere"),
            )
        ),
        *(Sent("GET", f"{path}/{key}") for path in ("", "/v1", "/v1/models", CHAT)),
        Sent("GET", f"{CHAT}/chatcmpl-1?starting_after={key}"),
        Sent("DELETE", f"/v1/models/{key}"),
        *(
            Sent("POST", CHAT, {name: key}, body)
            for name in (
                *("authorization", "api-key", "cookie", "user-agent", "referer", "origin", "traceparent"),
                *("idempotency-key", "last-event-id", "openai-organization", "anthropic-version"),
                *("x-penstock-user", "x-penstock-rescue", "x-penstock-timeout-s", "x-penstock-lane"),
            )
        ),
        Sent("POST", CHAT, {"authorization": f"Basic {key}"}, body),
        Sent("POST", CHAT, {"authorization": f"Token {key}"}, body),
        Sent("POST", CHAT, {"x-api-key": f"Bearer {key}"}, body),
        Sent("POST", CHAT, {"x-api-key": key[:-4]}, body),
        Sent("POST", CHAT, {f"x-penstock-{key}": "1"}, body),
        Sent("POST", CHAT, {key: "1"}, body),
        *(
            Sent("POST", CHAT, {}, chat_body("Hello", **{"stream": stream, **fields}))
            for stream in (True, False)
            for fields in (
                {"user": key},
                {"safety_identifier": key},
                {"model": key},
                {"model": f"{key}:complex"},
                {"metadata": {"key": key}},
                {"api_key": key},
                {"stream": key},
                {"messages": key},
                {"messages": [{"role": key, "content": "Hello"}]},
                {"messages": [{"role": "user", "content": f"My key is {key}"}]},
                {"response_format": key},
            )
        ),
        Sent("POST", CHAT, {}, None, f'{{"model": "coding", {key}'.encode()),
        Sent("POST", CHAT, {"content-type": key}, None, key.encode()),
    ]


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[System]:
    env = {"PENSTOCK_TRACES": f"file:{tmp_path / 'traces.jsonl'}"}
    async with running_system(tmp_path, config=catalogue({"coding": ("coder",)}), env=env) as running:
        yield running


async def metrics_of(process: Process, address: str = "http") -> bytes:
    return (await request("GET", f"{process.ready[address]}/metrics")).body


async def stored(system: System) -> bytes:
    """What is stored for accounting and operation: all but requests and answers, which hold what a client wrote."""
    nc = await nats.connect(system.nats.url)
    try:
        names = (
            *(stream.name for stream in (AUDIT, EVENTS, JOBS, CANCELS, DEAD)),
            *(f"KV_{b.name}" for b in (PRESENCE, KEYS)),
        )
        messages = [msg for name in names async for msg in read_all(nc, name, ">")]
        return b"".join(msg.data + str(msg.headers).encode() for msg in messages)
    finally:
        await nc.close()


async def send_raw(url: str, data: bytes) -> bytes:
    """Bytes that are not HTTP, and all that is answered."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(data)
    try:
        async with asyncio.timeout(10):
            return await reader.read()
    finally:
        writer.close()


def assert_without(secret: str, answer: Response, sent: Sent) -> None:
    if answer.status >= 400 or "chat" not in sent.path:
        shown = answer.body.decode() + json.dumps(answer.headers)
        assert secret not in shown, (sent, shown)
        assert secret.lower() not in shown, (sent, shown)


async def test_k5_a_key_in_any_wrong_place_is_in_no_log_trace_metric_or_error(system: System, tmp_path: Path):
    edge = system.new_edge(PENSTOCK_LOG_LEVEL="debug")
    await edge.start()
    url = str(edge.ready["url"])
    valid = await new_key(system)
    authorized = {"authorization": f"Bearer {valid}"}
    await until(answers(url, valid, 200))
    statuses: set[int] = set()
    for key in (valid, UNKNOWN):
        for sent in misuses(key):
            for headers in (sent.headers, {**authorized, **sent.headers}):
                answer = await request(
                    sent.method, f"{url}{sent.path}", sent.body, data=sent.data, headers=headers
                )
                assert_without(key[13:-4], answer, sent)
                assert answer.status < 500 or sent.path.startswith("/readyz"), sent
                statuses.add(answer.status)
        for raw in (
            f"GET /{key} HTTP/9\r\n\r\n",
            f"{key} / HTTP/1.1\r\n\r\n",
            f"GET / HTTP/1.1\r\n{key}\r\n\r\n",
        ):
            assert key[13:].encode() not in await send_raw(url, raw.encode())
    assert statuses >= {200, 400, 401, 404, 405}

    answer = await request("POST", f"{url}{CHAT}", chat_body("At last"), headers=authorized)
    assert answer.status == 200
    trace_id = answer.headers["x-penstock-trace-id"].encode()
    traces = tmp_path / "traces.jsonl"
    await until(lambda: trace_id in traces.read_bytes())
    places: dict[str, bytes] = {
        **{str(path): path.read_bytes() for path in tmp_path.rglob("*.log")},
        **{str(path): path.read_bytes() for path in tmp_path.rglob("*.out")},
        "traces": traces.read_bytes(),
        "stored": await stored(system),
        "metrics of the edge": await metrics_of(edge, "url"),
        "metrics of the edge's shell": await metrics_of(edge),
        "metrics of the router": await metrics_of(system.router),
        "metrics of the worker": await metrics_of(system.workers[0]),
    }
    assert all(any(word in place for place in places) for word in ("edge-", "router-", "worker-"))
    assert b"penstock_edge_rejected_keys_total" in places["metrics of the edge"]
    assert valid[4:12].encode() in places["stored"]
    for place, content in places.items():
        for key in (valid, UNKNOWN):
            for secret in (key[13:-4], key[13:-4].lower()):
                assert secret.encode() not in content, (place, secret)
