"""The budget ledger: the time and CPU of holds and settlements, its start, and its memory.

The load asks the ledger itself, without router and worker: a hold is one request/reply, and its settlement one stored
usage event. Both count on a real nats-server with file storage.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import nats
from nats.aio.client import Client as Nats

from penstock.cli.local.nats_server import NatsServer
from penstock.contract import codec, subjects
from penstock.contract.events import UsageRecorded
from penstock.contract.ledger.holds import HoldGranted, HoldRequest
from penstock.contract.ledger.journal import Held, JournalBatch, JournalEntry, Settled
from penstock.contract.streams import SPEND_HOURS
from penstock.contract.subjects import ReplyAddress
from penstock.runtime.config.load import read_catalogue
from penstock.runtime.config.settings import load_settings
from penstock.runtime.provisioning.ensure import JetStreamPlan, ensure_eventually
from tests.bench.cpu import own_cpu_s
from tests.bench.load import percentile, run
from tests.bench.targets import Target
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.process import Process
from tests.harness.suite.waiting import until

__all__ = ["ledger_figures", "ledger_targets"]

ACCOUNT: Final = "bench"
IDLE, AT_ONCE, TOTAL = 500, 128, 20_000
USERS: Final = 100_000
RECORDS: Final = 1_000_000
TAIL: Final = 49_000
"""Records after the last snapshot; at 50,000 the ledger takes the next one."""
BATCH: Final = 500
_SETTLE_S: Final = 3.0
"""After a start, until memory is measured."""
_MOST_WAIT_S: Final = 300.0
"""Until a step that nothing measures counts as failed, on a machine that is busy with other things too."""
BUDGETS: Final = {
    "every_account": {"microusd_per_month": 2**50},
    "every_user": {"requests_per_minute": 2**40, "microusd_per_day": 2**50, "tokens_per_day": 2**50},
}
_NO_PROVIDER: Final = "http://127.0.0.1:9"
"""The catalogue names a provider, which the ledger does not call."""
PICOUSD, TOKENS = 1_230_000_000, 2_050


async def ledger_figures(directory: Path, env: Mapping[str, str]) -> dict[str, Any]:
    """`ledger_cpu_ms_per_request`: of a hold and its settlement, at the ledger, and of asking for the hold."""
    async with _server(directory / "holds", env) as (nc, ledger):
        await ledger.start()
        found = await _holds(_Load(nc), ledger.process)
    async with _server(directory / "start", env) as (nc, ledger):
        return found | await _start_and_memory(nc, ledger)


@asynccontextmanager
async def _server(directory: Path, env: Mapping[str, str]) -> AsyncIterator[tuple[Nats, _Ledger]]:
    """A server with the streams of the ledger, which has not run yet."""
    directory.mkdir()
    config = directory / "catalogue.yaml"
    config.write_text(catalogue({"chat": ["m-chat"]}, budgets=BUDGETS))
    server = NatsServer(directory / "nats")
    await server.start()
    own = {"NATS_URL": server.url, "PENSTOCK_CATALOGUE": str(config), "PENSTOCK_SIMULATOR_URL": _NO_PROVIDER}
    ledger = _Ledger(directory, {**env, **own})
    nc = await nats.connect(server.url)
    try:
        plan = JetStreamPlan.of(load_settings(own), read_catalogue(config, own).roles)
        await ensure_eventually(nc.jetstream(), plan)
        yield nc, ledger
    finally:
        await nc.close()
        ledger.kill()
        server.kill()


def ledger_targets(report: dict[str, Any]) -> list[Target]:
    """The CPU is compared with that of the bare call, if the same run measured requests."""
    cpu = report["ledger_cpu_ms_per_request"]
    bare = report.get("direct", {}).get("cpu_ms_per_request")
    compared = [Target("ledger: CPU ms per request / bare call", cpu, 0.15, cpu / bare)] if bare else []
    return [
        Target("ledger: hold p50 ms", report["ledger_hold_p50_ms"], 1.0),
        Target("ledger: holds per second", report["ledger_holds_per_s"], 3_000.0, at_least=True),
        *compared,
        Target("ledger: start in s", report["ledger_start_s"], 5.0),
        Target("ledger: MB", report["ledger_rss_mb"], 120.0),
    ]


class _Ledger:
    """The one ledger process, which owns all partitions."""

    def __init__(self, directory: Path, env: Mapping[str, str]) -> None:
        self._directory = directory
        self._env = env
        self._starts = itertools.count(1)
        self.process = self._new()

    async def start(self) -> None:
        await self.process.start(timeout_s=120)

    async def stop(self) -> None:
        await self.process.terminate()

    async def start_again(self) -> None:
        """A new process; it prints its ready line once it owns its partitions."""
        self.process = self._new()
        await self.start()

    def kill(self) -> None:
        self.process.kill()

    def _new(self) -> Process:
        log = self._directory / f"ledger-{next(self._starts)}.log"
        return Process("services.ledger", env=self._env, log=log, fresh=True)


class _Load:
    """Holds and usage events of one account, each of the next of USERS users."""

    def __init__(self, nc: Nats) -> None:
        self._nc = nc
        self._js = nc.jetstream()
        self._numbers = itertools.count()
        self._subject = subjects.ledger_hold(subjects.partition_of(ACCOUNT))
        self.settled = 0

    async def hold(self) -> None:
        await self._ask(next(self._numbers))

    async def hold_and_settle(self) -> None:
        number = next(self._numbers)
        await self._ask(number)
        event = _usage(number)
        await self._js.publish(subjects.usage(ACCOUNT), codec.encode(event))
        self.settled += 1

    async def granted(self) -> bool:
        """Whether the ledger answers."""
        try:
            await self._ask(next(self._numbers))
        except nats.errors.NoRespondersError:
            return False
        return True

    async def _ask(self, number: int) -> None:
        request = HoldRequest(
            id=_hold_id(number),
            account=ACCOUNT,
            user=f"user-{number % USERS}",
            role="chat",
            picousd=PICOUSD,
            tokens=TOKENS,
            deadline_ms=int(time.time() * 1000) + 90_000,
        )
        msg = await self._nc.request(self._subject, codec.encode(request), timeout=10)
        answer = codec.HOLD_ANSWER.decode(msg.data)
        assert isinstance(answer, HoldGranted), answer


async def _holds(load: _Load, process: Process) -> dict[str, Any]:
    await until(load.granted, _MOST_WAIT_S)
    await run(load.hold_and_settle, at_once=16, total=500)
    idle = await run(load.hold, at_once=1, total=IDLE)
    busy = await run(load.hold, at_once=AT_ONCE, total=TOTAL)
    before_s, own_s = process.cpu_s(), own_cpu_s()
    await run(load.hold, at_once=16, total=TOTAL // 4)
    asking_s = own_cpu_s() - own_s
    hold_s = process.cpu_s() - before_s
    before_s = process.cpu_s()
    await run(load.hold_and_settle, at_once=16, total=TOTAL // 4)
    both_s = await _settled_cpu_s(process, before_s)
    per_request_ms = 1000 / (TOTAL // 4)
    return {
        "ledger_hold_p50_ms": round(percentile(idle.latencies_ms, 0.5), 3),
        "ledger_hold_p99_ms": round(percentile(idle.latencies_ms, 0.99), 3),
        "ledger_holds_per_s": round(busy.per_s, 1),
        "ledger_hold_p99_ms_at_128": round(percentile(busy.latencies_ms, 0.99), 3),
        "ledger_cpu_ms_per_request": round((both_s + asking_s) * per_request_ms, 3),
        "ledger_cpu_ms_by_part": {
            "hold": round(hold_s * per_request_ms, 3),
            "settlement": round((both_s - hold_s) * per_request_ms, 3),
            "asking": round(asking_s * per_request_ms, 3),
        },
    }


async def _settled_cpu_s(process: Process, before_s: float) -> float:
    """The CPU time since `before_s`, once the ledger has booked what was stored: it then uses almost none."""
    while True:
        used_s = process.cpu_s()
        await asyncio.sleep(0.5)
        if process.cpu_s() - used_s < 0.02:
            return used_s - before_s


async def _start_and_memory(nc: Nats, ledger: _Ledger) -> dict[str, Any]:
    """The time from the start of the process to its first granted hold, with RECORDS records in the journal; and its
    resident memory then, with USERS users of one account that were seen today.
    """
    await _append(nc, _entries((RECORDS - TAIL) // 2, _today_ms()))
    await ledger.start()
    await until(_Load(nc).granted, _MOST_WAIT_S)
    await until(lambda: _has_history(nc), _MOST_WAIT_S)
    await ledger.stop()
    await _append(nc, _entries(TAIL // 2, int(time.time() * 1000)))
    began_s = time.perf_counter()
    await ledger.start_again()
    await until(_Load(nc).granted, _MOST_WAIT_S, every_s=0.02)
    started_s = time.perf_counter() - began_s
    await asyncio.sleep(_SETTLE_S)
    return {"ledger_start_s": round(started_s, 2), "ledger_rss_mb": round(ledger.process.rss_mb(), 1)}


async def _has_history(nc: Nats) -> bool:
    """Whether the first process has saved its state and written the spend in it."""
    return (await nc.jetstream().stream_info(SPEND_HOURS.name)).state.messages > 0


async def _append(nc: Nats, entries: Iterator[JournalEntry]) -> None:
    """Write to the journal what a ledger would have written; none may own the partition meanwhile."""
    js, subject = nc.jetstream(), subjects.journal(subjects.partition_of(ACCOUNT))
    while batch := tuple(itertools.islice(entries, BATCH)):
        await js.publish(subject, codec.encode(JournalBatch(entries=batch)))


def _today_ms() -> int:
    """The beginning of the day, UTC, Unix milliseconds."""
    return int(time.time() // 86_400 * 86_400 * 1000)


_entry_numbers: Final = itertools.count(10_000_000)


def _entries(requests: int, since_ms: int) -> Iterator[JournalEntry]:
    """A hold and its settlement for each of so many requests, of USERS users in turn, evenly since `since_ms`."""
    until_ms = int(time.time() * 1000)
    for place, number in enumerate(itertools.islice(_entry_numbers, requests)):
        at_ms = since_ms + (until_ms - since_ms) * place // requests
        yield Held(
            id=_hold_id(number),
            account=ACCOUNT,
            user=f"user-{number % USERS}",
            key="",
            traffic="chat",
            role="chat",
            picousd=PICOUSD,
            tokens=TOKENS,
            at_ms=at_ms,
            deadline_ms=at_ms + 90_000,
        )
        yield Settled(
            id=_hold_id(number),
            attempt=1,
            account=ACCOUNT,
            user=f"user-{number % USERS}",
            key="",
            traffic="chat",
            role="chat",
            model="m-chat",
            input_tokens=41,
            output_tokens=180,
            cached_input_tokens=0,
            reasoning_tokens=0,
            picousd=114_150_000,
            saved_by_cache_picousd=0,
            saved_by_routing_picousd=0,
            estimated=False,
            priced=True,
            completed=True,
            ends=True,
            at_ms=at_ms,
        )


def _hold_id(number: int) -> str:
    return subjects.hold_id(ReplyAddress(ACCOUNT, "load", f"{number:032x}"))


def _usage(number: int) -> UsageRecorded:
    return UsageRecorded(
        id=f"{number:032x}",
        attempt=1,
        account=ACCOUNT,
        client="load",
        user=f"user-{number % USERS}",
        role="chat",
        lane="interactive",
        complexity="medium",
        provider="simulator",
        model="m-chat",
        credential="none",
        outcome="completed",
        input_tokens=41,
        output_tokens=180,
        cost_picousd=114_150_000,
        at_ms=int(time.time() * 1000),
        hold_id=_hold_id(number),
        ends=True,
    )
