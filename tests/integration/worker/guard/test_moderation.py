"""G1: answers are moderated in windows while they stream, and a late block ends them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from threading import Event

import pytest

from penstock.bus.clock import loop_now_s
from penstock.client.client import Client
from penstock.contract.guard.checks import GuardCheck, GuardVerdict
from penstock.contract.reply import Delta
from tests.harness.processes.fake_guard import FakeGuard, finding, verdict
from tests.harness.processes.system import System
from tests.harness.providers.scripted_provider import (
    DONE,
    Call,
    Part,
    ScriptedProvider,
    chunk,
    head,
    whole,
)
from tests.harness.requests.replies import ReceivedReply, ask, text_of

WINDOW = 200
ALLOWED = {"prompt_injection": "allow", "secrets": "allow", "personal_data": "allow"}
GUARD = {
    "input": ALLOWED,
    "output": {**ALLOWED, "hate": "block", "harassment": "flag"},
    "moderation_window_characters": WINDOW,
    "wait_s": 3,
    "detectors": {"openai_moderation": {"enabled": True, "when_unavailable": "refuse"}},
}
KIND = "All is well with the river and with the people who live there. "
HATEFUL = "They are all vermin. "


def blocks_hate(check: GuardCheck) -> GuardVerdict:
    hateful = [n for n, text in enumerate(check.texts) if "vermin" in text.text[text.start :]]
    return verdict(check, *(finding(n, 0, 0, "block", "hate") for n in hateful), language="ru")


@pytest.fixture(autouse=True)
async def guard(system: System) -> AsyncIterator[FakeGuard]:
    async with FakeGuard.running(system.nats.url) as running:
        running.decide = blocks_hate
        yield running


def says(provider: ScriptedProvider, *sentences: str) -> None:
    def answer(call: Call) -> Iterable[Part]:
        if not call.body.get("stream"):
            return (head("200 OK", "application/json"), whole("".join(sentences)))
        return (head(), *map(chunk, sentences), chunk(None, "stop"), DONE)

    provider.answer = answer


async def test_g1_a_late_block_ends_the_stream_and_the_call(
    client: Client, provider: ScriptedProvider, guard: FakeGuard
) -> None:
    shown = Event()

    def answer(_: Call) -> Iterator[Part]:
        yield head()
        yield from [chunk(KIND)] * 8
        assert shown.wait(30)
        yield from [chunk(HATEFUL), *[chunk(KIND)] * 4]
        yield 60.0

    provider.answer = answer
    began_s, events, stream = loop_now_s(), [], client.stream("Tell me of the river", role="chat")
    async for event in stream:
        events.append(event)
        if text_of(events).startswith(KIND * 4):
            shown.set()
    received = ReceivedReply(stream.id, events, loop_now_s() - began_s)
    assert (received.code, received.failed.error.categories) == ("blocked", ("hate",))
    assert received.failed.error.message.startswith("К сожалению, ответ")
    assert received.text.startswith(KIND * 4)
    assert received.failed.timings.total_ms < 30_000  # the provider keeps the stream open for 60 s
    windows = [text for check in guard.checks for text in check.texts]
    assert {check.direction for check in guard.checks} == {"output"}
    assert {check.detectors for check in guard.checks} == {("openai_moderation",)}
    assert all(len(text.text) - text.start >= WINDOW for text in windows)
    assert len(windows) > 1
    said = ""
    for text in windows:  # each begins with the last 256 characters before it, however the answer was cut
        assert text.text[: text.start] == said[-256:]
        said += text.text[text.start :]
    assert said.startswith(KIND * 8 + HATEFUL)


@pytest.mark.parametrize("stream", [True, False])
async def test_g1_the_last_words_are_moderated_before_the_answer_is_complete(
    client: Client, provider: ScriptedProvider, guard: FakeGuard, *, stream: bool
) -> None:
    guard.takes_s = 0.2
    says(provider, KIND, HATEFUL)
    received = await ask(client, "Tell me of the river", role="chat", stream=stream)
    assert (received.code, received.failed.error.categories) == ("blocked", ("hate",))
    assert stream or not received.text


@pytest.mark.parametrize("stream", [True, False])
async def test_g1_a_kind_answer_is_moderated_whole_and_shown_without_a_wait(
    client: Client, provider: ScriptedProvider, guard: FakeGuard, *, stream: bool
) -> None:
    guard.takes_s = 0.3
    guard.decide = lambda check: verdict(check, finding(0, 0, 0, "flag", "harassment"))
    says(provider, *[KIND] * 10)
    received = await ask(client, "Tell me of the river", role="chat", stream=stream)
    assert received.text == KIND * 10
    moderated = "".join(text.text[text.start :] for check in guard.checks for text in check.texts)
    assert moderated == KIND * 10
    assert {(found.direction, found.name) for found in received.completed.guarded} == {
        ("output", "harassment")
    }
    first_ms = received.completed.timings.first_token_ms
    assert not stream or (first_ms is not None and first_ms < 200)


async def test_g4_an_answer_that_must_be_moderated_ends_where_no_verdict_comes(
    client: Client, provider: ScriptedProvider, guard: FakeGuard
) -> None:
    guard.decide = lambda _: None
    says(provider, *[KIND] * 10)
    received = await ask(client, "Tell me of the river", role="chat")
    assert received.code == "guard_unavailable"
    assert [event for event in received.events if isinstance(event, Delta)]
