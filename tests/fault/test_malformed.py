"""D7, D10: every published message ends in an answer, a rejection or a dead letter, and crashes no service."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator

import aiohttp
import nats
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from nats.aio.client import Client as Nats

from penstock.bus.direct_get import read_page
from penstock.bus.stored_replies import read_event
from penstock.contract import headers, subjects
from penstock.contract.reply import TERMINAL
from penstock.contract.streams import DEAD, REPLIES, REQUESTS, WORK
from tests.fault.malformed import STRANGE_BLOCKS, STRANGE_SUBJECTS, messages, request, work
from tests.harness.nats.raw_nats import RawMessage, RawNats
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.system import System, shared_system
from tests.harness.requests.replies import ask
from tests.harness.suite.waiting import until

BATCH = 25
SLOW_IS_FINE = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture)
NO_SHRINKING = (Phase.explicit, Phase.generate)
"""Hypothesis phases without shrinking: in the shared system a stuck message makes every smaller example fail, too."""
NO_MAILBOX = "no role of the catalogue has this mailbox"


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    directory = tmp_path_factory.mktemp("malformed")
    env = {"PENSTOCK_TRACES": f"file:{directory / 'traces.jsonl'}"}
    with shared_system(directory, config=catalogue(), env=env) as running:
        pids = [process.pid for process in (running.router, *running.workers)]
        yield running
        assert [process.pid for process in (running.router, *running.workers)] == pids
        for process in (running.router, *running.workers):
            assert "Traceback" not in process.log.read_text(), process.log.read_text()[-3000:]


class Balance:
    """The ends and dead letters of all messages published since it was opened."""

    def __init__(self, nc: Nats, dead_from: int, replies_from: int) -> None:
        self._nc = nc
        self._js = nc.jetstream()
        self._dead_from = dead_from
        self._replies_from = replies_from

    @classmethod
    async def opened(cls, nc: Nats) -> Balance:
        js = nc.jetstream()
        last = [(await js.stream_info(stream.name)).state.last_seq for stream in (DEAD, REPLIES)]
        return cls(nc, last[0] + 1, last[1] + 1)

    async def settled(self) -> None:
        """Wait until no message is queued or in flight."""

        async def empty() -> bool:
            left.clear()
            for stream in (REQUESTS, WORK):
                state = (await self._js.stream_info(stream.name, subjects_filter=">")).state
                left.update(state.subjects or {})
            return not left

        left: dict[str, int] = {}
        try:
            await until(empty)
        except AssertionError as error:
            raise AssertionError(f"still queued: {left}") from error

    async def dead_lettered(self) -> list[dict[str, str]]:
        """The headers of the new dead letters."""
        return [msg.headers or {} for msg in await self._read(DEAD.name, "llm.dead.*", self._dead_from)]

    async def ended(self) -> Counter[str]:
        """Number of terminal events by reply subject."""
        found: Counter[str] = Counter()
        for msg in await self._read(REPLIES.name, "llm.reply.*.*.*", self._replies_from):
            if isinstance(read_event(msg), TERMINAL):
                found[(msg.headers or {})["Nats-Subject"]] += 1
        return found

    async def _read(self, stream: str, subject: str, sequence: int) -> list[nats.aio.msg.Msg]:
        found: list[nats.aio.msg.Msg] = []
        while True:
            page = await read_page(self._nc, stream, subject, sequence=sequence)
            found += page.messages
            if not page.messages or page.pending == 0:
                return found
            sequence = page.next_sequence


async def publish_and_balance(system: System, batch: list[RawMessage]) -> None:
    nc = await nats.connect(system.nats.url)
    try:
        balance = await Balance.opened(nc)
        async with RawNats.opened(system.nats.url) as raw_nats:
            acks = await raw_nats.publish(batch)
        stored = [ack for ack in acks if "seq" in ack and not ack.get("duplicate")]
        await balance.settled()
        dead, ended = await balance.dead_lettered(), await balance.ended()
        dead_subjects = {letter.get(headers.REPLY_SUBJECT) for letter in dead}
        rejected_or_answered = [subject for subject in ended if subject not in dead_subjects]
        assert set(ended.values()) <= {1}
        reasons = Counter(letter[headers.DEAD_REASON] for letter in dead)
        without_mailbox = [letter for letter in dead if letter[headers.DEAD_MESSAGE] == NO_MAILBOX]
        assert reasons["undeliverable"] == len(without_mailbox), dead
        assert len(stored) == len(dead) + len(rejected_or_answered), (acks, dead, ended)
        await _healthy(system)
    finally:
        await nc.close()


async def _healthy(system: System) -> None:
    async with aiohttp.ClientSession() as session:
        for process in (system.router, *system.workers):
            async with session.get(f"{process.ready['http']}/health") as answer:
                assert answer.status == 204


async def _still_works(system: System) -> None:
    async with await system.client() as client:
        received = await ask(client, "Still there?", role="chat")
    assert received.completed.model == "m-chat"
    assert received.took_s < 2


def check(system: System, batch: list[RawMessage]) -> None:
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        runner.run(publish_and_balance(system, batch))
        runner.run(_still_works(system))


@given(batch=st.lists(messages(), min_size=BATCH, max_size=BATCH))
@settings(max_examples=500 // BATCH, deadline=None, phases=NO_SHRINKING, suppress_health_check=SLOW_IS_FINE)
def test_d7_five_hundred_malformed_messages_balance(system: System, batch: list[RawMessage]) -> None:
    check(system, batch)


@pytest.mark.prove
@pytest.mark.timeout(300)
@given(batch=st.lists(messages(), min_size=4 * BATCH, max_size=4 * BATCH))
@settings(
    max_examples=10_000 // (4 * BATCH),
    deadline=None,
    phases=NO_SHRINKING,
    suppress_health_check=SLOW_IS_FINE,
)
def test_d7_ten_thousand_malformed_messages_balance(system: System, batch: list[RawMessage]) -> None:
    check(system, batch)


@pytest.mark.parametrize("block", STRANGE_BLOCKS, ids=lambda block: repr(block[:48]))
@pytest.mark.parametrize("to", ["request", "work"])
def test_d7_every_strange_header_block_balances(system: System, to: str, block: bytes) -> None:
    message = {
        "request": RawMessage("llm.request.fuzz.chat", json.dumps(request()).encode(), block),
        "work": RawMessage("llm.work.chat.interactive.0.a7c", json.dumps(work("chat")).encode(), block),
    }[to]
    check(system, [message])


@pytest.mark.parametrize("subject", STRANGE_SUBJECTS)
def test_d7_every_strange_subject_balances(system: System, subject: str) -> None:
    check(system, [RawMessage(subject, json.dumps(request()).encode())])


def test_d7_a_mailbox_without_a_role_is_emptied(system: System) -> None:
    """Queued work of a role that was removed from the catalogue ends, or becomes a dead letter if it is not valid."""
    order = work("chat") | {"role": "poet"}
    address = subjects.reply("fuzz", "fuzz", order["id"])
    late = f"NATS/1.0\r\nPenstock-Reply: {address}\r\nPenstock-Deadline-Ms: 1000\r\n\r\n".encode()
    orphan = json.dumps(order).encode()
    check(
        system,
        [
            RawMessage("llm.work.poet.batch.0.a7c", orphan, late),
            RawMessage("llm.work.poet.batch.3.fff", orphan),
            RawMessage("llm.work.poet.batch", orphan),
            RawMessage("llm.work.*.interactive", b"\xff"),
        ],
    )
