"""D6: a streamed answer, and what it does when another attempt begins after a part was sent."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import pytest
from msgspec import Raw

from penstock.contract.reply import NO_RESPONSE, ReplyEvent
from services.edge.answers.rescued_stream import RescuedStream, StreamPart
from services.edge.dialects.chat import ChatDialect
from services.edge.dialects.dialect import ChatCall, SseEvent
from services.edge.dialects.responses import ResponsesDialect
from services.edge.requests.rescue import StreamRescue
from tests.harness.requests.reply_events import (
    accepted,
    attempt,
    completed,
    delta,
    failed,
    restarted,
    started,
)

CALL = ChatCall(body=Raw(b"{}"), model="coding", stream=True)
TOOL_CALL = {"index": 0, "delta": {"tool_calls": [{"index": 0, "function": {"name": "f"}}]}}


def new_stream(rescue: StreamRescue = "error") -> RescuedStream:
    return RescuedStream(lambda: ChatDialect().stream("chatcmpl-1", 1, CALL), rescue)


def events_of(parts: list[StreamPart]) -> list[SseEvent]:
    return [event for part in parts for event in part.events]


def sent(stream: RescuedStream, events: Iterable[ReplyEvent]) -> list[SseEvent]:
    found = []
    for event in events:
        found += events_of(stream.add(event))
        if stream.ended:
            break
    return found


def text(events: Iterable[SseEvent]) -> str:
    return "".join(
        msgspec.json.decode(event.data)["choices"][0]["delta"].get("content") or ""
        for event in events
        if event.data.startswith(b'{"id"')
    )


def is_done(events: list[SseEvent]) -> bool:
    return events[-1].data == b"[DONE]"


def error(events: list[SseEvent]) -> str:
    return str(msgspec.json.decode(events[-1].data)["error"]["message"])


def test_e1_a_plain_answer_begins_once_and_ends_with_done():
    stream = new_stream()
    events = sent(stream, [*attempt(["Hel", "lo"]), completed()])
    assert text(events) == "Hello"
    assert is_done(events)
    assert stream.ended
    assert not stream.has_failed


def test_d6_nothing_is_sent_before_the_first_delta():
    assert sent(new_stream(), [started(), restarted(), started(2)]) == []


def test_e1_an_empty_answer_begins_and_ends():
    events = sent(new_stream(), [started(), completed()])
    assert len(events) == 3
    assert is_done(events)


def test_e1_the_end_alone_is_a_whole_stream():
    """An end that stands alone, after events that are not stored any more."""
    assert is_done(sent(new_stream(), [completed(response=NO_RESPONSE)]))


@pytest.mark.parametrize("second", [["Hello world"], ["He", "llo w", "orld"], ["Hello", " world"]])
def test_d6_an_attempt_that_repeats_the_text_continues(second: list[str]):
    events = sent(new_stream(), [*attempt(["Hel", "lo"]), *attempt(second, number=2), completed(2)])
    assert text(events) == "Hello world"
    assert is_done(events)


@pytest.mark.parametrize("second", [["Help"], ["H", "a"], ["Hel"], [""], []])
def test_d6_an_attempt_that_differs_ends_in_an_error(second: list[str]):
    stream = new_stream()
    events = sent(stream, [*attempt(["Hel", "lo"]), *attempt(second, number=2), completed(2)])
    assert text(events) == "Hello"
    assert "it was cut" in error(events)
    assert stream.ended
    assert stream.has_failed


def test_d6_a_third_attempt_is_compared_with_all_that_was_sent():
    first, second = attempt(["Hello"]), attempt(["Hello wo"], number=2)
    whole = sent(new_stream(), [*first, *second, *attempt(["Hello world"], number=3), completed(3)])
    assert text(whole) == "Hello world"
    other = sent(new_stream(), [*first, *second, *attempt(["Hello you"], number=3), completed(3)])
    assert text(other) == "Hello wo"
    assert not is_done(other)


def test_d6_tool_calls_that_were_sent_cannot_be_continued():
    events = sent(new_stream(), [started(), delta("", TOOL_CALL), started(2), restarted()])
    assert "it was cut" in error(events)


def test_d6_tool_calls_before_the_repeated_text_are_another_answer():
    events = sent(new_stream(), [*attempt(["Hello"]), *attempt([], number=2), delta("", TOOL_CALL, number=2)])
    assert "it was cut" in error(events)


def test_d6_hold_sends_the_last_attempt_alone_at_its_end():
    stream = new_stream("hold")
    broken = [*attempt(["Hel", "lo"]), *attempt(["Other", " text"], number=2, model="m2")]
    assert sent(stream, broken) == []
    events = events_of(stream.add(completed(2, "m2")))
    assert text(events) == "Other text"
    assert all(b'"model":"m2"' in event.data for event in events[:-1])
    assert is_done(events)


def test_d6_restart_tells_the_client_and_begins_again():
    events = sent(new_stream("restart"), [*attempt(["Hel"]), *attempt(["Other"], number=2), completed(2)])
    (position,) = [n for n, event in enumerate(events) if event.event]
    assert events[position].event == "penstock.restarted"
    assert msgspec.json.decode(events[position].data) == {
        "code": "provider_unavailable",
        "message": "it was cut",
        "attempt": 2,
    }
    assert text(events[:position]) == "Hel"
    assert text(events[position + 1 :]) == "Other"
    assert b'"role":"assistant"' in events[position + 1].data


def test_d6_restart_says_nothing_before_the_first_delta():
    events = sent(new_stream("restart"), [*attempt([]), *attempt(["Text"], number=2), completed(2)])
    assert not any(event.event for event in events)


@pytest.mark.parametrize("rescue", ["error", "hold", "restart"])
def test_d6_a_failed_request_has_no_done(rescue: StreamRescue):
    stream = new_stream(rescue)
    events = sent(stream, [*attempt(["Hel"]), failed()])
    assert error(events) == "all failed"
    assert stream.has_failed


@pytest.mark.parametrize("other", [["Hello"], ["Hel", "lo", ""], ["", "Hel", "lo"], ["Hal", "lo"]])
def test_e2_the_digest_is_that_of_the_text_and_of_its_pieces(other: list[str]):
    """Else the number of an event could be that of the end of another attempt, in which the text has fewer pieces."""
    digests = []
    for texts in (["Hel", "lo"], other):
        stream = new_stream()
        digests.append([part.digest for event in attempt(texts) for part in stream.add(event)][-1])
    assert digests[0] != digests[1]


def test_d6_text_that_is_held_briefly_is_sent_when_it_is_released_and_goes_on_as_error():
    stream = new_stream("hold_briefly")
    assert sent(stream, attempt(["Hel", "lo"])) == []
    assert stream.holds_text
    assert text(events_of(stream.release())) == "Hello"
    events = sent(stream, [*attempt(["Hello wor"], number=2), *attempt(["Other"], number=3)])
    assert text(events) == " wor"
    assert "it was cut" in error(events)


def test_d6_an_attempt_that_fails_while_its_text_is_held_briefly_is_invisible():
    stream = new_stream("hold_briefly")
    assert sent(stream, [*attempt(["Hel", "lo"]), *attempt(["Other"], number=2, model="m2")]) == []
    events = events_of(stream.release()) + sent(stream, [delta(" text", number=2, seq=3), completed(2, "m2")])
    assert text(events) == "Other text"
    assert all(b'"model":"m2"' in event.data for event in events[:-1])
    assert is_done(events)


def test_d6_text_is_not_released_once_another_attempt_has_started():
    stream = new_stream("hold_briefly")
    sent(stream, [*attempt(["Hello"]), started(2)])
    assert stream.release() == []


def background_stream() -> RescuedStream:
    dialect, called = (
        ResponsesDialect(),
        ChatCall(body=Raw(b"{}"), model="auto", stream=True, background=True),
    )
    return RescuedStream(lambda: dialect.stream("resp_1", 1, called), "error")


def test_e2_a_background_stream_has_the_same_numbers_where_accepted_is_not_stored_any_more():
    events = [*attempt(["Hel", "lo"]), completed()]
    with_it, without = background_stream(), background_stream()
    first = [part for event in [accepted(), *events] for part in with_it.add(event)]
    again = [part for event in events for part in without.add(event)]
    assert [(len(part.events), part.digest) for part in first] == [
        (len(part.events), part.digest) for part in again
    ]
    assert [event.event for event in first[0].events] == ["response.created", "response.queued"]
    assert first[0].digest == 0
    assert first[1].events[0].event == "response.in_progress"


def test_e1_a_stream_that_is_not_in_the_background_begins_with_its_first_text():
    assert new_stream().add(accepted()) == []
