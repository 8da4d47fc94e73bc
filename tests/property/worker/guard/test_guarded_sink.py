"""G2, G3: whatever the chunks and the delays are, what is published is the redacted whole, after the verdict."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from penstock.bus.tracing import NO_TRACER
from penstock.contract.guard.checks import Finding, GuardCheck, GuardVerdict
from penstock.runtime.config.guard import Guard
from penstock.runtime.guard.client import GuardUnreachable
from penstock.runtime.guard.effective_policy import effective_policy
from services.worker.guard.guard_checks import GuardChecks, Refused
from services.worker.guard.guarded_sink import GuardedSink
from services.worker.guard.metrics import RequestGuardMetrics
from services.worker.guard.request_guard import RequestGuard, RequestGuards
from services.worker.providers.raw_json import encoded
from services.worker.providers.streams.chunks import ChunkDelta
from tests.harness.guard.streamed_texts import chunks_of, texts_with
from tests.unit.worker.worker_parts import work

EMAIL = re.compile(r"[A-Za-z0-9._-]+@[a-z]+\.example(?![A-Za-z0-9-])")
CONFIG = Guard(
    input={"prompt_injection": "block", "secrets": "allow", "personal_data": "allow"},
    output={"secrets": "allow", "personal_data": "redact"},
)


async def turns(random_: random.Random) -> None:
    for _ in range(random_.randrange(4)):
        await asyncio.sleep(0)


class Asked:
    """A guard in the process: it finds addresses, and may block the input, after a random number of turns."""

    def __init__(self, random_: random.Random, *, blocks: bool = False) -> None:
        self.random = random_
        self.blocks = blocks
        self.decided = asyncio.Event()
        self.input_checks = 0

    async def check(
        self,
        check: GuardCheck,
        wait_s: float,  # noqa: ARG002 - the signature is GuardClient's
        trace: Mapping[str, str] | None = None,  # noqa: ARG002
    ) -> GuardVerdict:
        if check.direction == "input":
            self.input_checks += 1
            await self.decided.wait()
            return GuardVerdict(id=check.id, action="block" if self.blocks else "allow")
        await turns(self.random)
        found = [
            Finding(
                text=index,
                start=each.start(),
                end=each.end(),
                category="personal_data",
                kind="email",
                detector="personal_data",
                action="redact",
            )
            for index, text in enumerate(check.texts)
            for each in EMAIL.finditer(text.text)
            if each.end() > text.start
        ]
        return GuardVerdict(id=check.id, action="redact" if found else "allow", findings=tuple(found))


class Published:
    """Keeps what is published, after a random number of turns."""

    bytes_out = 0

    def __init__(self, asked: Asked) -> None:
        self.random = asked.random
        self.asked = asked
        self.texts: list[str] = []

    def take_room(self, size: int) -> bool:
        return size >= 0

    async def wait_for_room(self, size: int) -> None: ...

    async def push(self, piece: ChunkDelta) -> None:
        assert self.asked.decided.is_set()
        await turns(self.random)
        self.texts.append(piece.text)

    async def end(self) -> None:
        await turns(self.random)

    def drop(self) -> None: ...


def guard_of(asked: Asked) -> RequestGuard:
    checks = GuardChecks(asked, 1.0, NO_TRACER, RequestGuardMetrics(CollectorRegistry()))
    policy = effective_policy(CONFIG, "a", {})
    guard = RequestGuards(CONFIG, lambda _: policy, checks).of(work(), None)
    assert guard is not None
    return guard


def redacted(text: str) -> str:
    names: dict[str, str] = {}
    return EMAIL.sub(lambda found: names.setdefault(found[0], f"[EMAIL_{len(names) + 1}]"), text)


async def publish(chunks: list[str], target: Published, decided_after: int) -> None:
    """Publish an answer whose input is decided after so many chunks. Raises Refused."""
    asked = target.asked
    guard = guard_of(asked)
    sink: GuardedSink = guard.sink(target, 0)
    try:
        async with guard.permission.enforced():
            await guard.begin_attempt(encoded({"messages": [{"role": "user", "content": "Hello"}]}))
            for number, chunk in enumerate(chunks):
                if number == decided_after:
                    asked.decided.set()
                await sink.push(ChunkDelta(chunk))
                await turns(asked.random)
            asked.decided.set()
            await sink.end()
    finally:
        sink.drop()
        await guard.close()
        assert asked.input_checks == 1
    assert sink.content_bytes == sum(len(chunk.encode()) for chunk in chunks)


values = st.sampled_from(("ann@mail.example", "bob.b@shop.example", "eve@x.example"))


@given(data=st.data(), seed=st.integers(0, 1_000), decided_after=st.integers(0, 30))
def test_g3_what_is_published_is_the_redacted_whole(
    data: st.DataObject, seed: int, decided_after: int
) -> None:
    text = data.draw(texts_with(values))
    chunks = data.draw(chunks_of(text))

    async def run() -> list[str]:
        target = Published(Asked(random.Random(seed)))
        await publish(chunks, target, decided_after)
        return target.texts

    assert "".join(asyncio.run(run())) == redacted(text)


@given(data=st.data(), seed=st.integers(0, 1_000), decided_after=st.integers(0, 30))
def test_g2_nothing_of_a_blocked_request_is_published(
    data: st.DataObject, seed: int, decided_after: int
) -> None:
    chunks = data.draw(chunks_of(data.draw(texts_with(values))))

    async def run() -> list[str]:
        asked = Asked(random.Random(seed), blocks=True)
        target = Published(asked)
        with pytest.raises(Refused):
            await publish(chunks, target, decided_after)
        return target.texts

    assert asyncio.run(run()) == []


async def test_g4_after_one_check_without_an_answer_an_open_policy_waits_for_no_other() -> None:
    class Absent(Asked):
        asked = 0

        async def check(
            self,
            check: GuardCheck,  # noqa: ARG002 - the signature is GuardClient's
            wait_s: float,  # noqa: ARG002
            trace: Mapping[str, str] | None = None,  # noqa: ARG002
        ) -> GuardVerdict:
            self.asked += 1
            raise GuardUnreachable("none")

    absent = Absent(random.Random(0))
    absent.decided.set()
    metrics = RequestGuardMetrics(CollectorRegistry())
    checks = GuardChecks(absent, 1.0, NO_TRACER, metrics)
    config = Guard(
        output={"secrets": "allow", "personal_data": "redact"},
        input={"secrets": "allow", "personal_data": "allow", "prompt_injection": "allow"},
    )
    policy = effective_policy(config, "a", {})
    policy = type(policy)(policy.mode, policy.input, policy.output, {"personal_data": "allow"}, restore=True)
    guard = RequestGuards(config, lambda _: policy, checks).of(work(), None)
    assert guard is not None
    target = Published(absent)
    sink = guard.sink(target, 0)
    text = "ask ann@mail.example or bob@mail.example now"
    for word in text.split(" "):
        await sink.push(ChunkDelta(f"{word} "))
        await asyncio.sleep(0.01)
    await sink.end()
    assert "".join(target.texts) == f"{text} "
    assert absent.asked == 1
    assert metrics.unchecked.labels("output", "no_verdict")._value.get() == 2


async def test_g4_the_provider_is_not_read_on_while_a_busy_guard_has_much_to_check() -> None:
    free, characters = asyncio.Event(), list[int]()

    class Busy(Asked):
        async def check(
            self, check: GuardCheck, wait_s: float, trace: Mapping[str, str] | None = None
        ) -> GuardVerdict:
            characters.append(sum(len(text.text) for text in check.texts))
            await free.wait()
            return await super().check(check, wait_s, trace)

    busy = Busy(random.Random(0))
    busy.decided.set()
    guard, target = guard_of(busy), Published(busy)
    guard.permission.grant()
    sink = guard.sink(target, 0)
    line = "ask ann@mail.example now, and then wait for what is said to you.\n" * 16
    taken = 0
    while sink.take_room(len(line)):
        await sink.push(ChunkDelta(line))
        taken += 1
        assert taken < 1_000
    assert 200 * 1024 < taken * len(line) < 300 * 1024
    room = asyncio.create_task(sink.wait_for_room(len(line)))
    await asyncio.sleep(0)
    assert not room.done()
    free.set()
    await asyncio.wait_for(room, 30)
    assert sink.take_room(len(line))
    await sink.end()
    assert "".join(target.texts) == redacted(line * taken)
    assert max(characters) < 150 * 1024
    assert len(characters) > 1
    sink.drop()
