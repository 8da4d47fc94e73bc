"""D6, E2: whatever attempts a reply has, a stream never shows text of two generations, and can be resumed anywhere."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw
from msgspec.structs import replace

from penstock.contract.reply import ReplyEvent, first_seq
from services.edge.answers.rescued_stream import RescuedStream, StreamPart
from services.edge.answers.resumed_stream import AmbiguousPosition, released_attempt
from services.edge.dialects.chat import ChatDialect
from services.edge.dialects.dialect import ChatCall, StreamWriter
from services.edge.http.sse import Position
from services.edge.requests.rescue import StreamRescue
from tests.harness.requests.reply_events import attempt, completed, failed

CALL = ChatCall(body=Raw(b"{}"), model="m", stream=True)
ATTEMPTS = st.lists(st.lists(st.text("ab", max_size=3), max_size=4), min_size=1, max_size=4)
"""Few letters, so that attempts often repeat each other."""
RESCUES = st.sampled_from(["error", "hold", "restart"])

Shown = list[tuple[str, int]]
"""Each event, and the digest of the answer when it was sent."""


def reply(attempts: Sequence[Sequence[str]], *, fails: bool) -> list[ReplyEvent]:
    events: list[ReplyEvent] = []
    for number, texts in enumerate(attempts, 1):
        events += attempt(texts, number=number, model=f"m{number}")
    last = len(attempts)
    events.append(failed(last) if fails else completed(last, f"m{last}"))
    counts: Counter[int] = Counter()
    for place, event in enumerate(events):  # without gaps
        events[place] = replace(event, seq=first_seq(event.attempt) + counts[event.attempt])
        counts[event.attempt] += 1
    return events


def lines(parts: Sequence[StreamPart]) -> Shown:
    return [(f"{event.event} {event.data.decode()}", part.digest) for part in parts for event in part.events]


def shown(events: Sequence[ReplyEvent], rescue: StreamRescue) -> Shown:
    stream = RescuedStream(lambda: ChatDialect().stream("chatcmpl-1", 1, CALL), rescue)
    found: Shown = []
    for event in events:
        found += lines(stream.add(event))
        if stream.ended:
            break
    return found


def text_since_restart(events: Shown) -> str:
    text = ""
    for line, _ in events:
        name, _, data = line.partition(" ")
        if name == "penstock.restarted":
            text = ""
        elif data.startswith('{"id"'):
            text += json.loads(data)["choices"][0]["delta"].get("content") or ""
    return text


@given(ATTEMPTS, RESCUES, st.booleans())
def test_d6_only_a_whole_answer_of_one_attempt_has_done(
    attempts: list[list[str]], rescue: StreamRescue, fails: bool
):
    events = shown(reply(attempts, fails=fails), rescue)
    is_done = events[-1][0] == " [DONE]"
    texts = ["".join(texts) for texts in attempts]
    if is_done:
        assert not fails
        assert text_since_restart(events) == texts[-1]
    else:
        assert json.loads(events[-1][0])["error"]["message"]
        assert any(each.startswith(text_since_restart(events)) for each in texts)
    if rescue != "error":
        assert is_done != fails


@given(ATTEMPTS)
def test_d6_an_error_stream_goes_on_as_long_as_every_attempt_repeats_it(attempts: list[list[str]]):
    is_done = shown(reply(attempts, fails=False), "error")[-1][0] == " [DONE]"
    longest = ""
    repeats = True
    for texts in ("".join(each) for each in attempts):
        is_last_repeated = texts.startswith(longest)
        repeats = repeats and (is_last_repeated or longest.startswith(texts))
        longest = max(longest, texts, key=len)
    assert is_done == (repeats and "".join(attempts[-1]).startswith(longest))


@given(ATTEMPTS, RESCUES, st.booleans())
def test_e2_the_same_reply_gives_the_same_events(
    attempts: list[list[str]], rescue: StreamRescue, fails: bool
):
    events = reply(attempts, fails=fails)
    assert shown(events, rescue) == shown(events, rescue)


@given(ATTEMPTS, ATTEMPTS, RESCUES)
def test_e2_one_digest_at_one_number_means_the_same_answer_so_far(
    one: list[list[str]], other: list[list[str]], rescue: StreamRescue
):
    """So a client that resumes with number and digest continues the text that it has."""
    first, second = (shown(reply(each, fails=False), rescue) for each in (one, other))
    for number in range(min(len(first), len(second))):
        if rescue == "restart" or first[number][1] != second[number][1]:
            continue
        if "error" in first[number][0] or "error" in second[number][0]:
            continue
        assert text_since_restart(first[: number + 1]) == text_since_restart(second[: number + 1])


def new_stream(release_attempt: int | None = None) -> RescuedStream:
    return RescuedStream(writer, "hold_briefly", release_attempt=release_attempt)


def writer() -> StreamWriter:
    return ChatDialect().stream("chatcmpl-1", 1, CALL)


def held_briefly(events: Sequence[ReplyEvent], released_after: int) -> list[Shown]:
    """What the first reader gets of each event, if the time is over after so many events."""
    stream = new_stream()
    found: list[Shown] = []
    for place, event in enumerate(events):
        released = lines(stream.release()) if place == released_after else []
        found.append([*released, *lines(stream.add(event))])
        if stream.ended:
            break
    return found


def resumed(events: Sequence[ReplyEvent], stored: int, read: Shown, *, with_digest: bool) -> Shown | None:
    """What a reader gets that has `read`, and finds the first `stored` events in the store; None: it is refused."""
    number, digest = len(read) - 1, read[-1][1]
    try:
        attempt = released_attempt(
            events[:stored], writer, Position(number, digest if with_digest else None, "")
        )
    except AmbiguousPosition:
        return None
    stream = new_stream(attempt)
    found: Shown = []
    for event in events:
        found += lines(stream.add(event))
        if stream.ended:
            break
    is_same = len(found) > number and found[number][1] == digest
    return found[number + 1 :] if is_same else None


@given(ATTEMPTS, st.booleans(), st.integers(0, 25))
def test_d6_text_held_briefly_is_never_mixed(attempts: list[list[str]], fails: bool, released_after: int):
    events = [line for part in held_briefly(reply(attempts, fails=fails), released_after) for line in part]
    texts = ["".join(texts) for texts in attempts]
    if events[-1][0] == " [DONE]":
        assert not fails
        assert text_since_restart(events) == texts[-1]
    else:
        assert any(each.startswith(text_since_restart(events)) for each in texts)


@given(ATTEMPTS, st.booleans(), st.integers(0, 25), st.booleans(), st.data())
def test_e2_a_stream_held_briefly_is_resumed_after_any_event(
    attempts: list[list[str]], fails: bool, released_after: int, with_digest: bool, data: st.DataObject
):
    """Whenever its text was released and the client reconnects: the rest belongs to what was read, or is refused."""
    events = reply(attempts, fails=fails)
    first = held_briefly(events, released_after)
    size = data.draw(st.integers(1, sum(map(len, first))))
    stored = data.draw(st.integers(sent_after(first, size), len(events)))
    check_resumed(attempts, events, first, size=size, stored=stored, with_digest=with_digest)


@pytest.mark.parametrize("attempts", [[[""], [""]], [["a", "b"], ["ab"]], [["ab"], ["a", "b"]]])
def test_e2_a_stream_is_resumed_where_attempts_have_the_same_text_in_other_pieces(attempts: list[list[str]]):
    events = reply(attempts, fails=False)
    first = held_briefly(events, 0)
    for size in range(1, sum(map(len, first)) + 1):
        for stored in range(sent_after(first, size), len(events) + 1):
            check_resumed(attempts, events, first, size=size, stored=stored, with_digest=True)


def sent_after(first: Sequence[Shown], size: int) -> int:
    """How many reply events a reader needs to get `size` events of the stream."""
    return next(n for n in range(1, len(first) + 1) if sum(map(len, first[:n])) >= size)


def check_resumed(
    attempts: Sequence[Sequence[str]],
    events: Sequence[ReplyEvent],
    first: Sequence[Shown],
    *,
    size: int,
    stored: int,
    with_digest: bool,
) -> None:
    """Read `size` events of the first stream, then the rest from the stored events."""
    whole = [line for part in first for line in part]
    read = whole[:size]
    rest = resumed(events, stored, read, with_digest=with_digest)
    if rest is None:
        assert not with_digest or "error" in read[0][0], "only an error without any text"
        return
    texts = ["".join(texts) for texts in attempts]
    joined = [*read, *rest]
    if joined[-1][0] == " [DONE]":
        assert text_since_restart(joined) == texts[-1]
        assert sum('"finish_reason":"stop"' in line for line, _ in joined) == 1
    else:
        assert whole[-1][0] != " [DONE]" or stored < len(events)
        assert any(text.startswith(text_since_restart(joined)) for text in texts)
