"""F1: restarts, snapshots, takeovers and fencing of ledgers: nothing is lost, counted twice, or answered wrongly."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from functools import partial

import nats.errors
import pytest
from nats.aio.client import Client as Nats

from penstock.cli.local.nats_server import NatsServer
from penstock.contract import codec, subjects
from penstock.contract.headers import EXPECTED_LAST
from penstock.contract.ledger.holds import HoldGranted, HoldRefused
from penstock.contract.ledger.journal import JournalBatch, TookOver
from penstock.contract.ledger.spend import SpendQuery
from penstock.contract.streams import JOURNAL, SNAPSHOTS, SPEND_HOURS
from services.ledger.partitions.assignment import PARTITIONS
from services.ledger.partitions.snapshotter import SnapshotPolicy
from services.ledger.partitions.writer import TICK_S
from services.ledger.verification.verifier import verify_books
from tests.harness.nats.partition import Partition
from tests.harness.processes.ledgers import LedgerUser, RunningLedger, create_journal_anew, running_ledger
from tests.harness.suite.waiting import until

DAY = {"every_account": {"microusd_per_day": 10_000}}
OFTEN = SnapshotPolicy(entries=5, every_s=0.2)


@pytest.fixture
def url(own_nats_server: NatsServer) -> str:
    return own_nats_server.url


@pytest.fixture
def user(own_nc: Nats) -> LedgerUser:
    return LedgerUser(own_nc, "shop")


@pytest.fixture
async def start(url: str) -> AsyncIterator[Callable[..., object]]:
    """Starts a ledger that is stopped after the test."""
    started: list[RunningLedger] = []

    async def one(at: str = url, **options: object) -> RunningLedger:
        started.append(RunningLedger(at, DAY, **options))
        await started[-1].start()
        return started[-1]

    yield one
    for ledger in started:
        await ledger.stop()


async def spent(user: LedgerUser, microusd: int, held: int) -> bool:
    status = await user.status()
    return (status.spent_today_microusd, status.held_microusd) == (microusd, held)


@pytest.mark.parametrize("snapshots", [SnapshotPolicy(), OFTEN], ids=["journal", "snapshot"])
async def test_f1_a_restarted_ledger_knows_what_was_spent_and_held(
    user: LedgerUser, url: str, own_nc: Nats, snapshots: SnapshotPolicy
) -> None:
    async with running_ledger(url, DAY, snapshots=snapshots) as ledger:
        for name in ("a", "b", "c"):
            await user.hold(name)
        await user.use("a", 300)
        await until(lambda: spent(user, 300, 2_000))
        if snapshots is OFTEN:
            await until(
                lambda: ledger.metric("penstock_ledger_entries_since_snapshot", partition=user.partition) == 0
            )
    await user.use("b", 200)  # while no ledger runs
    async with running_ledger(url, DAY, snapshots=snapshots):
        await until(lambda: spent(user, 500, 1_000))
    if snapshots is OFTEN:
        info = await own_nc.jetstream().stream_info(SPEND_HOURS.name)
        assert info.state.messages > 0


async def test_f1_a_partition_keeps_one_snapshot(
    user: LedgerUser, start: Callable[..., object], own_nc: Nats
) -> None:
    ledger = await start(snapshots=OFTEN)
    for name in ("one", "two", "three"):
        before = saved_s(ledger, user)
        await user.hold(name)
        await until(partial(was_saved, ledger, user, before))

    async def parts() -> bool:
        wanted = subjects.snapshot(user.partition, "*")
        info = await own_nc.jetstream().stream_info(SNAPSHOTS.name, subjects_filter=wanted)
        return len(info.state.subjects or {}) == 2

    await until(parts)


def saved_s(ledger: RunningLedger, user: LedgerUser) -> float:
    """When the last snapshot of the user's partition was stored."""
    return ledger.metric("penstock_ledger_snapshot_timestamp_seconds", partition=user.partition)


def was_saved(ledger: RunningLedger, user: LedgerUser, after_s: float) -> bool:
    return saved_s(ledger, user) > after_s


async def test_f1_a_new_ledger_takes_its_share_while_holds_go_on(
    user: LedgerUser, start: Callable[..., object], own_nc: Nats
) -> None:
    first = await start()
    assert first.owned == set(PARTITIONS)
    accounts = [LedgerUser(own_nc, f"account{number}") for number in range(20)]
    answers: list[object] = []
    lost: Counter[str] = Counter()

    async def ask(account: LedgerUser) -> None:
        while not done.is_set():
            try:
                answers.append(await account.hold(picousd=0, timeout_s=5))
            except nats.errors.NoRespondersError:
                pass  # no owner at this moment: it is asked again, as by every HoldClient
            except nats.errors.TimeoutError:
                lost[account.account] += 1
            await asyncio.sleep(0.01)

    done = asyncio.Event()
    asking = [asyncio.create_task(ask(each)) for each in accounts]
    second = await start()
    await until(lambda: first.owned | second.owned == set(PARTITIONS) and not first.owned & second.owned)
    assert first.owned
    assert second.owned
    await first.ledger.drain()
    await until(lambda: second.owned == set(PARTITIONS))
    done.set()
    await asyncio.gather(*asking)
    assert all(isinstance(each, HoldGranted) for each in answers)
    assert max(lost.values(), default=0) <= 1, "a former owner leaves its questions to the next one"


async def test_f1_the_partitions_of_an_idle_ledger_wake_it_up_at_the_same_times(
    start: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger, loop = await start(), asyncio.get_running_loop()
    assert ledger.owned == set(PARTITIONS)
    call_at, due = loop.call_at, []

    def noted(when: float, *args: object, **context: object) -> asyncio.TimerHandle:
        task = asyncio.current_task()
        if task is not None and task.get_name() in {"ledger tick", "ownership", "usage feed"}:
            due.append((task.get_name(), round(when, 3)))
        return call_at(when, *args, **context)

    monkeypatch.setattr(loop, "call_at", noted)
    await until(lambda: sum(name == "usage feed" for name, _ in due) >= 4 * len(PARTITIONS), timeout_s=30)
    ticks = [when for name, when in due if name == "ledger tick"]
    apart = [
        abs((when - ticks[0] + TICK_S / 2) % TICK_S - TICK_S / 2) for _, when in due if when > ticks[0] + 1.0
    ]
    # Just after the start, usage is still read as it is published, and partitions are looked at more often.
    assert len(apart) > 4 * len(PARTITIONS) - 9
    assert sum(each_s > TICK_S / 10 for each_s in apart) <= len(apart) / 10, due


async def test_f1_an_owner_that_was_replaced_stores_nothing_and_answers_nobody(
    user: LedgerUser, start: Callable[..., object], own_nc: Nats
) -> None:
    ledger = await start()
    await user.hold("one")
    js, subject = own_nc.jetstream(), subjects.journal(user.partition)
    last = (await js.get_last_msg(JOURNAL.name, subject)).seq
    takeover = codec.encode(JournalBatch(entries=(TookOver(instance="another", at_ms=1),)))
    await js.publish(subject, takeover, headers={EXPECTED_LAST: str(last)})

    with pytest.raises(nats.errors.TimeoutError):
        await user.hold("two", timeout_s=0.5)
    await until(lambda: holds(user, "two"))  # it is the owner by its own view, and has loaded again

    assert ledger.metric("penstock_ledger_fenced_writes_total") == 1
    assert (await user.status()).held_microusd == 2_000


async def test_f1_a_ledger_that_is_cut_off_gives_its_partitions_up_and_takes_them_again(
    user: LedgerUser, start: Callable[..., object], url: str
) -> None:
    async with Partition.before(url) as between:
        cut_off = await start(between.url)
        await user.hold("one")
        between.cut()
        other = await start()
        await until(lambda: other.owned == set(PARTITIONS))
        await until(lambda: not cut_off.owned)
        assert isinstance(await user.hold("two"), HoldGranted)
        between.heal()
        await until(lambda: bool(cut_off.owned) and not cut_off.owned & other.owned)
        await until(lambda: spent(user, 0, 2_000))
        await other.ledger.drain()
        await until(lambda: cut_off.owned == set(PARTITIONS))
        await until(lambda: spent(user, 0, 2_000))


async def test_f1_a_server_restart_loses_nothing(
    user: LedgerUser, start: Callable[..., object], own_nats_server: NatsServer
) -> None:
    await start()
    await user.hold("one")
    await own_nats_server.restart()
    await until(lambda: holds(user, "two"))
    await user.use("one", 300)
    await until(lambda: spent(user, 300, 1_000))


async def holds(user: LedgerUser, name: str) -> bool:
    try:
        return isinstance(await user.hold(name, timeout_s=1), HoldGranted)
    except nats.errors.Error:  # not connected, or no owner yet
        return False


async def test_f1_a_full_journal_refuses_holds_and_loses_no_settlement(
    user: LedgerUser, start: Callable[..., object], own_nc: Nats
) -> None:
    await start()
    await user.hold("one")
    js = own_nc.jetstream()
    config = (await js.stream_info(JOURNAL.name)).config
    full = config.evolve(max_bytes=(await js.stream_info(JOURNAL.name)).state.bytes + 10, discard="new")
    usual = config.evolve()
    await js.update_stream(full)
    refused = await user.hold("two")
    assert isinstance(refused, HoldRefused)
    assert (refused.code, refused.retry_after_s) == ("budget_unavailable", 1.0)
    assert "cannot store" in refused.message
    await user.use("one", 300)
    await js.update_stream(usual)
    await until(lambda: holds(user, "two"))
    await until(lambda: spent(user, 300, 1_000))


@pytest.mark.parametrize("snapshots", [SnapshotPolicy(), OFTEN], ids=["journal", "snapshot"])
async def test_f1_a_journal_that_is_created_anew_is_noticed_before_anything_is_written(
    user: LedgerUser,
    url: str,
    own_nc: Nats,
    snapshots: SnapshotPolicy,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with running_ledger(url, DAY, snapshots=snapshots) as ledger:
        for number in range(12):
            await user.hold(f"before{number}", picousd=0)
            await user.use(f"before{number}", 10)
        await until(lambda: spent(user, 120, 0))
        if snapshots is OFTEN:
            await until(
                lambda: ledger.metric("penstock_ledger_entries_since_snapshot", partition=user.partition) == 0
            )
        await create_journal_anew(own_nc)
        await until(lambda: is_granted(user, "after"))
        assert "created again" in caplog.text
        await until(lambda: spent(user, 120, 1_000))
        await user.use("after", 300)
        await until(lambda: spent(user, 420, 0))
        await user.hold("open")
    async with running_ledger(url, DAY, snapshots=snapshots):
        await until(lambda: spent(user, 420, 1_000))
        books = await verify_books(own_nc, int(time.time()))
        assert books.agrees, books
        assert await reported(own_nc) == 420


async def is_granted(user: LedgerUser, name: str) -> bool:
    try:
        return isinstance(await user.hold(name, timeout_s=0.5), HoldGranted)
    except nats.errors.Error:
        return False


async def reported(nc: Nats) -> int:
    """Micro-dollars in the spend report."""
    query = SpendQuery(since_s=0, until_s=2**40, by=("account",))
    msg = await nc.request(subjects.LEDGER_SPEND, codec.encode(query), timeout=5)
    return codec.SPEND_REPORT.decode(msg.data).total.picousd // 1_000_000
