"""A2: the calls without an SDK are those of the SDK byte for byte, and the SDK makes them where that is not sure."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from msgspec import structs

from services.worker.providers.errors.failures import ProviderFailure
from services.worker.providers.groq_sdk import GROQ
from services.worker.providers.http_connections import Connector, Request
from services.worker.providers.openai_sdk import OPENAI
from services.worker.providers.sdk import SdkKind, SdkProvider
from tests.harness.suite.waiting import until

BODY = b'{"id": "c"}'
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
CALLS: dict[str, Callable[[SdkProvider, bytes, str], Any]] = {
    "chat": lambda sdk, body, label: sdk.chat("KEY", body, label),
    "embeddings": lambda sdk, body, label: sdk.embeddings("KEY", body, label),
}


class Endpoint:
    """An HTTP server that keeps the requests as they arrive."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                (length,) = re.findall(rb"(?i)content-length: (\d+)", head)
                self.requests.append(head + await reader.readexactly(int(length)))
                writer.write(OK)
        except asyncio.IncompleteReadError:
            writer.close()


@pytest.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    endpoint = Endpoint()
    server = await asyncio.start_server(endpoint.serve, "127.0.0.1", 0)
    endpoint.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    yield endpoint
    server.close()


@pytest.fixture(params=[OPENAI, GROQ], ids=lambda kind: kind.sdk)
def kind(request: pytest.FixtureRequest) -> SdkKind:
    found: SdkKind = request.param
    return found


@asynccontextmanager
async def provider(kind: SdkKind, endpoint: Endpoint) -> AsyncIterator[tuple[SdkProvider, list[str]]]:
    """The provider, and the label of each call that its SDK made."""
    sdk, made = SdkProvider("p", kind, endpoint.url, {"KEY": "sk-first"}), []
    post = sdk._clients["KEY"].post

    async def noted(path: str, **options: Any) -> Any:
        made.append(options["options"]["headers"]["X-Client-Request-Id"])
        return await post(path, **options)

    sdk._clients["KEY"].post = noted
    yield sdk, made
    await sdk.close()


async def ask(sdk: SdkProvider, call: str, body: bytes, label: str) -> None:
    response = await CALLS[call](sdk, body, label)
    try:
        assert response.status == 200
        assert response.headers["content-type"] == "application/json"
        assert b"".join([piece async for piece in response.pieces()]) == BODY
    finally:
        await response.close()


@pytest.mark.parametrize("call", CALLS)
async def test_a2_a_call_without_the_sdk_is_the_call_of_the_sdk(kind, endpoint, call):
    bodies = [b'{"model": "m"}', b'{"model": "m", "stream": true}', b'{"n": 1}', b"[%b]" % (b"1," * 10_000)]
    async with provider(kind, endpoint) as (sdk, made):
        for number, body in enumerate(bodies):
            await ask(sdk, call, body, f"call.{number}")
    assert made == ["call.0", "call.1"]
    assert endpoint.connections == 1
    by_sdk = endpoint.requests[0].partition(b"\r\n\r\n")[0]
    for number, (body, request) in enumerate(zip(bodies, endpoint.requests, strict=True)):
        expected = by_sdk.replace(b"call.0", b"call.%d" % number)
        expected = re.sub(rb"(?i)(content-length: )\d+", rb"\g<1>%d" % len(body), expected)
        assert request == expected + b"\r\n\r\n" + body


async def test_a2_a_new_key_is_used_from_the_next_call_on(kind, endpoint):
    async with provider(kind, endpoint) as (sdk, made):
        for number in range(3):
            await ask(sdk, "chat", b"{}", f"old.{number}")
        sdk.set_key("KEY", "sk-second")
        for number in range(3):
            await ask(sdk, "chat", b"{}", f"new.{number}")
    assert made == ["old.0", "old.1", "new.0", "new.1"]
    keys = [re.findall(rb"(?i)authorization: Bearer (\S+)", request) for request in endpoint.requests]
    assert keys == [[b"sk-first"]] * 3 + [[b"sk-second"]] * 3


async def test_a2_calls_at_the_same_time_have_a_connection_each(kind, endpoint):
    async with provider(kind, endpoint) as (sdk, made):
        for number in range(2):
            await ask(sdk, "chat", b"{}", f"call.{number}")
        await asyncio.gather(*(ask(sdk, "chat", b"{}", f"call.{number}") for number in range(2, 7)))
        await asyncio.gather(*(ask(sdk, "chat", b"{}", f"call.{number}") for number in range(7, 12)))
    assert made == ["call.0", "call.1"]
    assert endpoint.connections == 5
    heads = {re.sub(rb"call\.\d+", b"", request) for request in endpoint.requests}
    assert (len(heads), len(endpoint.requests)) == (1, 12)


async def test_a2_a_connection_that_was_idle_for_too_long_is_not_used(kind, endpoint):
    """The provider, or a firewall before it, may drop it at any time."""
    async with provider(kind, endpoint) as (sdk, made):
        for number in range(3):
            await ask(sdk, "chat", b"{}", f"call.{number}")
        assert endpoint.connections == 1
        (agreed,) = sdk._direct["KEY"]._agreed.values()
        assert agreed.connector._keepalive_timeout > 0
        agreed.connector._keepalive_timeout = 0.0
        await ask(sdk, "chat", b"{}", "call.3")
    assert made == ["call.0", "call.1"]
    assert endpoint.connections == 2


async def test_a2_a_request_that_was_signed_before_the_key_changed_is_not_repeated(
    kind, endpoint, monkeypatch
):
    connect, may_connect, connecting = Connector.connect, asyncio.Event(), []

    async def held_back(self: Connector, request: Any, *arguments: Any, **options: Any) -> Any:
        connecting.append(request)
        await may_connect.wait()
        return await connect(self, request, *arguments, **options)

    monkeypatch.setattr(Connector, "connect", held_back)
    async with provider(kind, endpoint) as (sdk, made):
        old = [asyncio.create_task(ask(sdk, "chat", b"{}", f"old.{number}")) for number in range(2)]
        await until(lambda: len(connecting) == 2)
        sdk.set_key("KEY", "sk-second")
        may_connect.set()
        await asyncio.gather(*old)
        await ask(sdk, "chat", b"{}", "new.0")
    assert made[2:] == ["new.0"]
    assert b"Bearer sk-second\r\n" in endpoint.requests[-1]


async def test_a2_an_sdk_that_varies_its_requests_makes_every_call(kind, endpoint):
    async with provider(kind, endpoint) as (sdk, made):
        client = sdk._clients["KEY"]
        build, numbers = client._build_request, iter(range(100))

        def varied(*arguments: Any, **options: Any) -> Any:
            request = build(*arguments, **options)
            request.headers["x-nonce"] = str(next(numbers))
            return request

        client._build_request = varied
        for number in range(4):
            await ask(sdk, "chat", b"{}", f"call.{number}")
    assert len(made) == 4


async def test_a2_behind_a_proxy_the_sdk_makes_every_call(kind, endpoint, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", endpoint.url.removesuffix("/v1"))
    async with provider(kind, endpoint) as (sdk, made):
        for number in range(3):
            await ask(sdk, "chat", b"{}", f"call.{number}")
    assert len(made) == 3
    assert all(request.startswith(b"POST http://") for request in endpoint.requests)


async def test_d6_a_lost_endpoint_is_no_connection(kind, endpoint, unused_tcp_port):
    async with provider(kind, endpoint) as (sdk, _):
        for number in range(3):
            await ask(sdk, "chat", b"{}", f"call.{number}")
        known = sdk._direct["KEY"]._agreed
        for path, agreed in known.items():
            url, session = agreed.request.url.with_port(unused_tcp_port), agreed.request.session
            lost = Request("POST", url, loop=asyncio.get_running_loop(), session=session)
            recorded = structs.replace(agreed.recorded, endpoint=lost.connection_key)
            known[path] = structs.replace(agreed, recorded=recorded, request=lost)
        with pytest.raises(ProviderFailure) as caught:
            await sdk.chat("KEY", b"{}", "lost")
    assert (caught.value.kind, caught.value.connected) == ("connection", False)
