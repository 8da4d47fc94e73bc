"""D6, E2: whatever attempts a reply has, a stream never shows text of two generations, and can be resumed anywhere."""

from __future__ import annotations

import json
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from penstock.contract.reply import ReplyEvent
from services.edge.answers.rescued_stream import RescuedStream
from services.edge.dialects.chat import ChatDialect
from services.edge.dialects.dialect import ChatCall
from services.edge.requests.answer_id import StreamRescue
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
    return [*events, failed(last) if fails else completed(last, f"m{last}")]


def shown(events: Sequence[ReplyEvent], rescue: StreamRescue) -> Shown:
    stream = RescuedStream(lambda: ChatDialect().stream("chatcmpl-1", 1, CALL), rescue)
    found: Shown = []
    for event in events:
        found += [(f"{each.event} {each.data.decode()}", stream.digest) for each in stream.add(event)]
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
