"""D6, G: no part of one response reaches another request, neither in a cookie nor over a reused connection."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator
from threading import Event

import pytest
import uvloop

from services.worker.providers.errors.failures import ProviderFailure
from services.worker.providers.groq_sdk import GROQ
from services.worker.providers.openai_sdk import OPENAI
from services.worker.providers.sdk import SdkKind, SdkProvider
from tests.fault.worker.providers.rows.wire import (
    Answer,
    chunked,
    data,
    delta,
    events,
    http_head,
    sized,
    until_closed,
)
from tests.harness.providers.direct_calls import begin_direct_calls
from tests.harness.providers.scripted_provider import Call, End, ScriptedProvider, scripted_provider, whole
from tests.harness.suite.examples import cases

Run = Callable[[Coroutine[None, None, None]], None]
IDLE_S = 0.15
MINE = whole("mine")
FOREIGN = b"".join(part for part in sized(whole("foreign")) if isinstance(part, bytes))
STREAM = b"".join(events(delta("mine"), delta(None, "stop")))
SIZED: Answer = sized(MINE)
CHUNKED = chunked(STREAM)


@pytest.fixture(scope="module")
def provider() -> Iterator[ScriptedProvider]:
    with scripted_provider("m") as running:
        yield running


Caller = tuple[SdkKind, bool]
"""An SDK, and whether the worker makes its calls without it."""


@pytest.fixture(
    params=[(OPENAI, False), (GROQ, False), (OPENAI, True), (GROQ, True)],
    ids=["openai", "groq", "openai-direct", "groq-direct"],
)
def kind(request: pytest.FixtureRequest) -> Caller:
    caller: Caller = request.param
    return caller


@pytest.fixture(params=cases([asyncio.run, uvloop.run], long=[asyncio.run]), ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """The worker runs on uvloop, and so does `make test`; aiohttp behaves differently on each event loop."""
    runner: Run = request.param
    return runner


@contextlib.asynccontextmanager
async def calling(caller: Caller, provider: ScriptedProvider):
    kind, direct = caller
    endpoint = SdkProvider("p", kind, provider.url, {"KEY": "sk-secret"})
    try:
        if direct:
            await begin_direct_calls(provider, endpoint)
        yield endpoint
    finally:
        await endpoint.close()


async def call_once(endpoint: SdkProvider) -> bytes:
    response = await endpoint.chat("KEY", json.dumps({"model": "m"}).encode(), "a.1")
    try:
        return b"".join([piece async for piece in response.pieces()])
    finally:
        await response.close()


def in_turn(provider: ScriptedProvider, *answers: Answer) -> list[Call]:
    """Answer the calls in turn, the last answer repeatedly; the list grows with each call."""
    calls: list[Call] = []

    def answer(call: Call) -> Iterable[bytes | float | End]:
        calls.append(call)
        return answers[min(len(calls), len(answers)) - 1]

    provider.answer = answer
    return calls


COOKIES = {
    "a session": ("Set-Cookie: session=tenant-a; Path=/",),
    "not ASCII": ("Set-Cookie: a=\xe9\xff; Path=/",),
    "long-lived, with a domain": ("Set-Cookie: a=1; Path=/; Max-Age=99999999; Domain=127.0.0.1",),
    "no name": ("Set-Cookie: =; Path", "Set-Cookie2: x", "Set-Cookie: \x01\x02;;;=="),
    "many": tuple(f"Set-Cookie: c{number}={'x' * 3000}; Path=/" for number in range(60)),
}


@pytest.mark.parametrize("name", COOKIES)
@pytest.mark.parametrize("status", ["200 OK", "400 Bad"])
def test_d6_no_cookie_is_kept_or_sent(kind, run, provider, name, status):
    answer = (http_head(status, "application/json", f"Content-Length: {len(MINE)}"), MINE, End.KEEP)
    lines = "\r\n".join(COOKIES[name]).encode("latin-1") + b"\r\n\r\n"
    answer = (answer[0].removesuffix(b"\r\n") + lines, *answer[1:])
    calls = in_turn(provider, answer, SIZED)

    async def play() -> None:
        async with calling(kind, provider) as endpoint:
            if status.startswith("200"):
                assert await call_once(endpoint) == MINE
            else:
                with pytest.raises(ProviderFailure, match="400"):
                    await call_once(endpoint)
            for _ in range(2):
                assert await call_once(endpoint) == MINE

    run(play())
    assert [call.cookie for call in calls] == [None] * 3


STRAY = {
    "a whole response": (FOREIGN,),
    "an error response": (b"HTTP/1.1 401 No\r\nContent-Length: 2\r\n\r\n{}",),
    "half a status line": (b"HTTP/1.1 2",),
    "headers without a body": (FOREIGN[:40],),
    "a response in two pieces": (FOREIGN[:20], 0.02, FOREIGN[20:]),
    "a response without a length": (b"HTTP/1.1 200 OK\r\n\r\n" + MINE,),
    "not HTTP": (b"oops\r\n\r\n",),
    "5,000 responses": (FOREIGN * 5000,),
    "an interim response": (b"HTTP/1.1 100 Continue\r\n\r\n",),
}


@pytest.mark.parametrize("name", STRAY)
@pytest.mark.parametrize("pause", [(), (0.03,)], ids=["at once", "later"])
@pytest.mark.parametrize("before", [SIZED, CHUNKED], ids=["sized", "chunked"])
def test_d6_data_on_an_idle_connection_is_not_an_answer(kind, run, provider, name, pause, before):
    first = (*before[:-1], *pause, *STRAY[name], End.KEEP)
    calls = in_turn(provider, first, SIZED)

    async def play() -> None:
        async with calling(kind, provider) as endpoint:
            with contextlib.suppress(ProviderFailure):  # for bytes in the same packet that are not HTTP
                assert await call_once(endpoint) in {MINE, STREAM}
            await asyncio.sleep(IDLE_S)
            for _ in range(2):
                assert await call_once(endpoint) == MINE

    run(play())
    assert len(calls) == 3


@pytest.mark.parametrize("rest", [b"data: [DONE]\n\n", FOREIGN])
def test_d6_the_unread_rest_of_an_answer_is_not_read_by_the_next(kind, run, provider, rest):
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n"
    calls = in_turn(provider, (head, data("[DONE]"), 0.05, rest, End.KEEP), SIZED)

    async def play() -> None:
        async with calling(kind, provider) as endpoint:
            response = await endpoint.chat("KEY", b'{"model":"m"}', "a.1")
            async for _ in response.pieces():
                break
            await response.close()
            await asyncio.sleep(IDLE_S)
            assert await call_once(endpoint) == MINE

    run(play())
    assert len(calls) == 2


def test_a_clean_connection_is_reused(kind, run, provider):
    in_turn(provider, SIZED)

    async def play() -> None:
        async with calling(kind, provider) as endpoint:
            before = provider.connections
            for _ in range(5):
                assert await call_once(endpoint) == MINE
                await asyncio.sleep(0.01)
            assert provider.connections == before + 1

    run(play())


@pytest.mark.filterwarnings("ignore:Sending a large body")
def test_d6_a_connection_on_which_a_request_is_half_sent_is_not_reused(kind, run, provider):
    """The provider answers before it reads the body, so the next request would wait behind the rest of it."""
    in_turn(provider, SIZED)
    body = b'{"model":"m","text":"%b"}' % (b"x" * 20_000_000)  # more than the buffers of both sockets

    async def play() -> None:
        async with calling(kind, provider) as endpoint:
            provider.most_bytes = 1_000_000
            with pytest.raises(ProviderFailure, match="413"):
                await endpoint.chat("KEY", body, "a.1")
            assert await asyncio.wait_for(call_once(endpoint), 10) == MINE

    run(play())


@pytest.mark.parametrize("more", [(), ("Connection: upgrade", "Upgrade: h2c")], ids=["", "upgrade"])
def test_d6_a_connection_that_switched_protocols_is_not_reused(kind, run, provider, more):
    in_turn(provider, (http_head("101 Switching Protocols", "text/plain", *more), End.KEEP), SIZED)

    async def play() -> None:
        async with calling(kind, provider) as endpoint:
            with pytest.raises(ProviderFailure, match="101"):
                await call_once(endpoint)
            before = provider.connections
            for _ in range(2):
                assert await call_once(endpoint) == MINE
            assert provider.connections == before + 1

    run(play())


@pytest.mark.parametrize("before", [SIZED, CHUNKED], ids=["sized", "chunked"])
def test_a_connection_closed_after_an_answer_costs_no_call(kind, run, provider, before):
    """The FIN is in the packet of the answer, and no header announces it."""
    calls = in_turn(provider, (End.JOINED, *before[:-1]))

    async def play() -> None:
        async with calling(kind, provider) as endpoint:
            for _ in range(20):
                assert await call_once(endpoint) in {MINE, STREAM}

    run(play())
    assert len(calls) == 20


@pytest.mark.parametrize("stray", [(), (FOREIGN,)], ids=["closed", "a response, then closed"])
@pytest.mark.parametrize("kind", [(OPENAI, False), (GROQ, False)], ids=["openai", "groq"])
def test_a_connection_closed_just_before_the_request_costs_no_call(kind, run, provider, stray):
    """The SDK chooses the connection some iterations of the event loop before it writes, and a call without the SDK in
    the same one.
    """
    chosen = Event()
    calls: list[Call] = []

    def answer(call: Call) -> Iterator[bytes | float | End]:
        calls.append(call)
        yield from SIZED[:-1]
        if len(calls) == 1:
            assert chosen.wait(10)
            yield from stray
        else:
            yield End.KEEP

    async def play() -> None:
        async with calling(kind, provider) as endpoint:
            provider.answer = answer
            assert await call_once(endpoint) == MINE
            closed = provider.closed

            def close() -> None:
                chosen.set()
                while provider.closed == closed:
                    time.sleep(0.001)

            call = asyncio.create_task(call_once(endpoint))
            asyncio.get_running_loop().call_soon(close)
            assert await call == MINE

    run(play())
    assert len(calls) == 2


def test_a_call_that_was_sent_is_not_repeated(kind, run, provider):
    calls = in_turn(provider, SIZED, ())

    async def play() -> None:
        async with calling(kind, provider) as endpoint:
            assert await call_once(endpoint) == MINE
            with pytest.raises(ProviderFailure, match="the connection broke"):
                await call_once(endpoint)

    run(play())
    assert len(calls) == 2


@pytest.mark.parametrize("piece", [STREAM, STREAM[:80], b""], ids=["all", "some", "nothing"])
def test_d6_a_connection_reset_is_not_the_end_of_an_answer(kind, run, provider, piece):
    in_turn(provider, (*until_closed(piece), 0.05, End.RESET), until_closed(STREAM))

    async def play() -> None:
        async with calling(kind, provider) as endpoint:
            with pytest.raises(ProviderFailure, match="the connection broke"):
                await call_once(endpoint)
            assert await call_once(endpoint) == STREAM

    run(play())
