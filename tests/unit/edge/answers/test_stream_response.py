"""The status, ids and end of a streamed response, in virtual time."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import Any, cast

import pytest
from msgspec import Raw

from penstock.contract.reply import ReplyEvent
from services.edge.answers.reply_facts import ReplyFacts
from services.edge.answers.rescued_stream import RescuedStream
from services.edge.answers.stream_response import BEFORE_THE_FIRST, StreamResponse
from services.edge.dialects.chat import ChatDialect
from services.edge.dialects.dialect import AnswerError, ChatCall
from services.edge.http.errors import HttpError
from services.edge.http.exchange import Exchange
from services.edge.http.sse import Position, parse_position
from services.edge.requests.rescue import StreamRescue
from tests.harness.requests.reply_events import accepted, attempt, completed, delta, failed

CALL = ChatCall(body=Raw(b"{}"), model="coding", stream=True)
STOPPING = AnswerError("shutting_down", "stopping", 503)


class FakeExchange:
    def __init__(self) -> None:
        self.status: int | None = None
        self.headers: list[Any] = []
        self.is_broken = False
        self.written = b""
        self.has_ended = False
        self.errors: list[Exception] = []

    def interrupt_with(self, error: Exception) -> None:
        self.errors.append(error)

    async def start_stream(self, *_headers: object) -> None:
        self.status = 200

    async def respond(self, status: int, *_body: bytes) -> None:
        self.status = status

    async def write(self, data: bytes) -> None:
        self.written += data

    async def end(self) -> None:
        self.has_ended = True

    @property
    def ids(self) -> list[str]:
        return re.findall(r"^id: (.*)$", self.written.decode(), re.MULTILINE)


def new_response(
    after: Position = BEFORE_THE_FIRST, rescue: StreamRescue = "error", hold_s: float | None = None
) -> tuple[FakeExchange, StreamResponse]:
    exchange = FakeExchange()
    stream = RescuedStream(lambda: ChatDialect().stream("c", 1, CALL), rescue, hold_s=hold_s)
    facts = ReplyFacts("r1", None)
    return exchange, StreamResponse(cast("Exchange", exchange), stream, facts, wait_s=2.0, after=after)


async def sent(events: Sequence[ReplyEvent], after: Position = BEFORE_THE_FIRST) -> FakeExchange:
    exchange, response = new_response(after)
    async with response:
        for event in events:
            if await response.add(event):
                break
        await response.end()
    return exchange


def position(text: str) -> Position:
    found = parse_position(text)
    assert found is not None
    return found


async def test_e1_the_status_is_sent_with_the_first_delta():
    exchange, response = new_response()
    async with response:
        await response.add(accepted())
        first, *rest = attempt(["a"])
        await response.add(first)
        await asyncio.sleep(1.9)
        assert exchange.status is None
        await response.add(rest[0])
        assert exchange.status == 200


async def test_e1_a_waiting_request_gets_its_status_and_comments():
    exchange, response = new_response()
    async with response:
        await response.add(accepted(queue_position=3))
        await asyncio.sleep(3.5)
        assert exchange.written == b": queued position=3\n\n" * 2
        for event in attempt(["a"]):
            await response.add(event)
        await asyncio.sleep(5)
    assert exchange.written.count(b": queued") == 2


async def test_d10_a_failure_before_the_status_is_an_http_error():
    with pytest.raises(HttpError) as refused:
        await sent([accepted(), failed(retry_after_s=2)])
    assert refused.value.status == 503


async def test_e2_a_resumed_failure_after_text_is_an_event():
    events = [*attempt(["a", "b"]), failed()]
    whole = await sent(events)
    assert whole.is_broken
    resumed = await sent(events, position(whole.ids[-2]))
    assert (resumed.status, resumed.ids) == (200, whole.ids[-1:])


@pytest.mark.parametrize("events", [[], attempt(["a", "b"])])
async def test_d9_an_error_that_is_not_in_the_reply_repeats_the_last_id(events: list[ReplyEvent]):
    """So a client that resumes after it misses nothing, also when it has only comments so far."""
    exchange, response = new_response()
    async with response:
        for event in events:
            await response.add(event)
        before = exchange.ids
        await response.fail(STOPPING)
    assert exchange.ids == [*before, before[-1] if before else ""]


async def test_d9_an_error_before_a_resumed_stream_moved_has_the_position_of_the_client():
    exchange, response = new_response(position("7-000000ab"))
    async with response:
        await response.fail(STOPPING)
    assert exchange.ids == ["7-000000ab"]


async def test_e2_the_end_of_a_resumed_stream():
    events = [*attempt(["a", "b"]), completed()]
    whole = await sent(events)
    assert whole.has_ended
    assert (await sent(events, position(whole.ids[-1]))).status == 204
    with pytest.raises(HttpError) as beyond:
        await sent(events, position(str(len(whole.ids))))
    assert beyond.value.status == 400


async def test_e2_a_part_that_another_attempt_replaced_is_a_conflict():
    whole = await sent([*attempt(["a", "b"]), completed()])
    with pytest.raises(HttpError) as conflict:
        await sent([*attempt(["x", "b"]), completed()], position(whole.ids[1]))
    assert conflict.value.status == 409
    assert (b"x-should-retry", b"false") in conflict.value.headers


async def test_e1_an_error_while_a_comment_is_written_ends_the_response():
    exchange, response = new_response()

    async def write(_: bytes) -> None:
        raise RuntimeError("broken")

    exchange.write = write  # type: ignore[method-assign]
    async with response:
        await response.add(accepted())
        await asyncio.sleep(5)
    assert [str(error) for error in exchange.errors] == ["broken"]


async def test_d6_held_text_is_sent_after_its_time_and_the_rest_at_once():
    exchange, response = new_response(rescue="hold_briefly", hold_s=1.5)
    async with response:
        for event in attempt(["a", "b"]):
            await response.add(event)
        await asyncio.sleep(1.4)
        assert exchange.status is None
        await asyncio.sleep(0.2)
        held = exchange.ids
        assert len(held) == 3
        await response.add(delta("c", seq=3))
        assert len(exchange.ids) == 4
        await response.add(completed())
        await response.end()
    assert exchange.ids == (await sent([*attempt(["a", "b", "c"]), completed()])).ids
    assert exchange.has_ended


async def test_d10_a_failure_while_text_is_held_is_an_http_error():
    _, response = new_response(rescue="hold_briefly", hold_s=1.5)
    async with response:
        for event in attempt(["a", "b"]):
            await response.add(event)
        with pytest.raises(HttpError):
            await response.add(failed())


async def test_e2_an_attempt_that_replaced_held_text_is_a_conflict_also_where_the_timer_releases_it():
    """The stream goes on with nothing of the other attempt: two attempts are never spliced."""
    whole = await sent([*attempt(["a", "b"]), completed()])
    exchange, response = new_response(position(whole.ids[1]), rescue="hold_briefly", hold_s=1.5)
    async with response:
        for event in attempt(["x", "y", "z"]):
            await response.add(event)
        await asyncio.sleep(1.6)
        assert [error.status for error in exchange.errors if isinstance(error, HttpError)] == [409]
        with pytest.raises(HttpError) as conflict:
            await response.add(completed())
    assert conflict.value.status == 409
    assert exchange.written == b""
