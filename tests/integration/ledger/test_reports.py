"""F1, F2, F4: alerts, spend, traces and metrics of a running ledger."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator

import pytest
from nats.aio.client import Client as Nats

from penstock.bus.direct_get import read_all
from penstock.bus.trace_names import OUTCOME, SPAN_HOLD, SPAN_SETTLE
from penstock.cli.connection import check_answer
from penstock.cli.errors import CommandError
from penstock.cli.local.nats_server import NatsServer
from penstock.contract import codec, subjects
from penstock.contract.events import BudgetAlerted
from penstock.contract.headers import ERROR_CODE, TRACEPARENT
from penstock.contract.ledger.spend import SpendQuery, SpendReport
from penstock.contract.streams import AUDIT, SPEND_HOURS
from services.ledger.partitions.snapshotter import SnapshotPolicy
from tests.harness.processes.ledgers import LedgerUser, RunningLedger, running_ledger
from tests.harness.records.spans import RecordingTracer
from tests.harness.suite.waiting import until

DAY = {"every_account": {"microusd_per_day": 10_000}}
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def tracer() -> RecordingTracer:
    return RecordingTracer()


@pytest.fixture
async def ledger(own_nats_server: NatsServer, tracer: RecordingTracer) -> AsyncIterator[RunningLedger]:
    often = SnapshotPolicy(entries=5, every_s=0.3)
    async with running_ledger(own_nats_server.url, DAY, tracer=tracer, snapshots=often) as running:
        yield running


@pytest.fixture
def user(own_nc: Nats, ledger: RunningLedger) -> LedgerUser:
    return LedgerUser(own_nc, "shop")


async def alerts(nc: Nats) -> list[BudgetAlerted]:
    wanted = subjects.EVENT.format(kind="budget", scope="*")
    events = [codec.EVENT.decode(msg.data) async for msg in read_all(nc, AUDIT.name, wanted)]
    return [each for each in events if isinstance(each, BudgetAlerted)]


async def test_f2_each_alert_is_published_and_logged_once_also_by_the_next_owner(
    user: LedgerUser, own_nc: Nats, own_nats_server: NatsServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for name, microusd in (("a", 8_100), ("b", 100), ("c", 2_000)):
        await user.hold(name)
        await user.use(name, microusd)
    async with running_ledger(own_nats_server.url, DAY), running_ledger(own_nats_server.url, DAY):
        await until(lambda: has_alerts(own_nc, 2))
        await user.hold("d", picousd=0)
    found = await alerts(own_nc)
    assert [(each.percent, each.spent, each.allowed) for each in found] == [
        (80, 8_100, 10_000),
        (100, 10_200, 10_000),
    ]
    assert found[0].period_start_ms <= time.time() * 1000 < found[0].resets_at_ms
    logged = [line for line in caplog.messages if line.startswith("budget of account shop: ")]
    assert [line.split(": ")[1].split()[0] for line in logged] == ["80%", "100%"]


async def test_f3_a_limit_and_its_part_for_one_class_of_traffic_alert_separately(
    own_nc: Nats, own_nats_server: NatsServer
) -> None:
    both = {"every_account": {"microusd_per_day": 10_000, "chat": {"microusd_per_day": 10_000}}}
    user = LedgerUser(own_nc, "shop")
    for _ in range(2):
        async with running_ledger(own_nats_server.url, both):
            await user.use("a", 8_100)
            await until(lambda: has_alerts(own_nc, 2))
    found = {(each.percent, each.traffic): each for each in await alerts(own_nc)}
    assert found.keys() == {(80, None), (80, "chat")}
    assert found[80, "chat"].resets_at_ms == found[80, None].resets_at_ms


async def has_alerts(nc: Nats, count: int) -> bool:
    return len(await alerts(nc)) == count


async def spend(nc: Nats) -> SpendReport:
    query = SpendQuery(since_s=0, until_s=2**40, by=("user",))
    msg = await nc.request(subjects.LEDGER_SPEND, codec.encode(query), timeout=5)
    return codec.SPEND_REPORT.decode(msg.data)


async def test_f4_spend_is_reported_before_and_after_it_is_in_the_history(
    user: LedgerUser, own_nc: Nats
) -> None:
    for number in range(12):
        await user.use(f"r{number}", 10, user=f"user{number % 2}", hold_id=None)
        await asyncio.sleep(0.05)  # snapshots in between

    async def complete() -> bool:
        report = await spend(own_nc)
        return (report.total.picousd, report.total.attempts) == (120_000_000, 12)

    await until(complete)
    report = await spend(own_nc)
    assert [row.amounts.picousd for row in report.rows] == [60_000_000, 60_000_000]
    assert report.missing_partitions == ()


async def test_f1_a_hold_and_its_settlement_are_spans_of_the_trace_of_the_request(
    user: LedgerUser, own_nc: Nats, tracer: RecordingTracer
) -> None:
    headers = {TRACEPARENT: PARENT}
    for name, picousd in (("one", 1), ("two", 10**11)):
        data = codec.encode(user.request(name, picousd=picousd))
        await own_nc.request(user.hold_subject, data, headers=headers, timeout=5)
    usage = codec.encode(user.usage("one", 300))
    await own_nc.jetstream().publish(subjects.usage(user.account), usage, headers=headers)
    await until(lambda: len(tracer.spans) == 3)
    shown = [(each.name, each.parent, each.attributes[OUTCOME], each.error) for each in tracer.spans]
    assert shown == [
        (SPAN_HOLD, PARENT, "granted", None),
        (SPAN_HOLD, PARENT, "budget_exceeded", "budget_exceeded"),
        (SPAN_SETTLE, PARENT, "completed", None),
    ]
    assert all(each.ended for each in tracer.spans)


async def test_f4_the_metrics_count_outcomes_money_and_overshoot(
    user: LedgerUser, ledger: RunningLedger
) -> None:
    await user.hold("one")
    await user.hold("two", picousd=10**11)
    await user.use("one", 1_500)
    await until(lambda: ledger.metric("penstock_ledger_spent_microusd_total") == 1_500)
    assert ledger.metric("penstock_ledger_holds_total", outcome="granted") == 1
    assert ledger.metric("penstock_ledger_holds_total", outcome="budget_exceeded") == 1
    assert ledger.metric("penstock_ledger_overshoot_microusd_total") == 500
    assert ledger.metric("penstock_ledger_hold_duration_seconds_count") == 2


@pytest.mark.parametrize("data", [b"", b"{}", b"\xff"])
async def test_f4_a_query_that_cannot_be_read_is_answered_with_the_reason(
    ledger: RunningLedger,
    own_nc: Nats,
    data: bytes,
) -> None:
    for subject in (subjects.LEDGER_SPEND, subjects.ledger_budget(subjects.partition_of("shop"))):
        answer = await own_nc.request(subject, data, timeout=5)
        assert (answer.headers or {})[ERROR_CODE] == "400"
        with pytest.raises(CommandError, match="the ledger cannot answer: the message is not a"):
            check_answer(answer)


async def test_f4_a_query_is_answered_with_the_reason_while_the_history_is_gone(
    ledger: RunningLedger,
    own_nc: Nats,
) -> None:
    await own_nc.jetstream().delete_stream(SPEND_HOURS.name)
    query = codec.encode(SpendQuery(since_s=0, until_s=2**40))
    answer = await own_nc.request(subjects.LEDGER_SPEND, query, timeout=9)
    assert (answer.headers or {})[ERROR_CODE] == "503"
