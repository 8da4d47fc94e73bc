"""The spend history in JetStream, and what `penstock spend` prints of it."""

from __future__ import annotations

import asyncio
import csv
import json
import time

import pytest
from nats.aio.client import Client as Nats
from nats.js.errors import APIError

from penstock.cli.__main__ import main
from penstock.contract import codec, subjects
from penstock.contract.ledger.spend import SpendQuery, SpendReport
from penstock.contract.streams import SPEND_HOURS, SPEND_MONTHS
from penstock.runtime.provisioning.ensure import JetStreamPlan, ensure
from services.ledger.spend.answer import answer_spend
from services.ledger.spend.history import listing_of
from services.ledger.spend.nats_store import NatsHistory, warn_when_nearly_full
from services.ledger.spend.rows import HOUR_S
from tests.integration.ledger.spend.owner import SpendOwner
from tests.unit.ledger.spend.settlements import settled

NOW_S = int(time.time())
DAY_S = 24 * HOUR_S


@pytest.fixture
async def owner(own_nc: Nats) -> SpendOwner:
    await ensure(own_nc.jetstream(), JetStreamPlan(ack_wait_s=10))
    owner = SpendOwner(own_nc)
    await owner.start()
    return owner


async def ask(owner: SpendOwner, **fields) -> SpendReport:
    query = SpendQuery(**({"since_s": 0, "until_s": NOW_S + DAY_S} | fields))
    return codec.SPEND_REPORT.decode(await answer_spend(owner.nc, codec.encode(query)))


async def test_f5_stored_sums_and_recent_rows_of_all_partitions_add_up(owner: SpendOwner):
    for number in range(40):
        await owner.settle(
            account=f"a{number % 10}", at_ms=(NOW_S - number * DAY_S // 4) * 1000, picousd=number
        )
        if number % 8 == 7:
            await owner.save()
            assert (await ask(owner)).total.picousd == sum(range(number + 1))
    assert await owner.compact(NOW_S) > 0
    assert await owner.compact(NOW_S) == 0
    await owner.settle(account="a1", at_ms=(NOW_S - 2 * DAY_S) * 1000, picousd=1_000)
    report = await ask(owner, by=("account",))
    assert report.total.picousd == sum(range(40)) + 1_000
    assert report.total.attempts == 41
    by_account = {row.key.account: row.amounts.picousd for row in report.rows}
    assert by_account["a1"] == sum(range(1, 40, 10)) + 1_000
    assert not report.missing_partitions
    by_hour = await ask(owner, by=("hour",), account="a3")
    assert len(by_hour.rows) == 4

    listing = await listing_of(NatsHistory(owner.nc))
    some = [
        period
        for number in range(8)
        for month in listing.months(str(number))
        for period in listing.hours(month)
    ]
    assert all(not listing.deltas_of(hour, 0, None) for hour in some if hour.start_s < NOW_S - 2 * HOUR_S)


async def test_f2_spend_that_full_storage_rejects_is_written_when_there_is_room(owner: SpendOwner):
    await owner.settle(picousd=5)
    await owner.save()
    js = owner.nc.jetstream()
    config = (await js.stream_info(SPEND_HOURS.name)).config
    full = {"max_msgs": 1, "discard": "new"}
    before = {"max_msgs": config.max_msgs, "discard": config.discard}
    for name, value in full.items():
        setattr(config, name, value)
    await js.update_stream(config)
    await owner.settle(picousd=7)
    with pytest.raises(APIError):
        await owner.save()
    assert (await ask(owner)).total.picousd == 12
    for name, value in before.items():
        setattr(config, name, value)
    await js.update_stream(config)
    await owner.save()
    report = await ask(owner)
    assert (report.total.picousd, report.total.attempts) == (12, 2)


async def test_f5_partitions_without_an_owner_are_named_after_a_second(own_nc: Nats):
    await ensure(own_nc.jetstream(), JetStreamPlan(ack_wait_s=10))
    owner = SpendOwner(own_nc, ("2",))
    await owner.start()
    begin_s = time.monotonic()
    assert (await ask(owner)).missing_partitions == (0, 1, 3, 4, 5, 6, 7)
    assert time.monotonic() - begin_s < 3


async def test_f5_a_report_that_exceeds_a_message_leaves_out_the_cheapest_rows(owner: SpendOwner):
    long = "x" * 2_000
    for first in range(0, 5_000, 1_000):
        numbers = range(first, first + 1_000)
        await owner.append(*(settled(number, user=f"{long}{number}", picousd=number) for number in numbers))
    await owner.save()
    report = await ask(owner, by=("user",), limit=100_000)
    assert len(report.rows) + report.left_out == 5_000
    assert report.left_out > 0
    assert report.rows[0].amounts.picousd == 4_999
    assert report.total.picousd == sum(range(5_000))


async def test_f5_the_command_prints_text_csv_and_json(
    owner: SpendOwner, own_nats_server, monkeypatch, capsys
):
    monkeypatch.setenv("NATS_URL", own_nats_server.url)
    await owner.settle(account="shop", user="=anna", at_ms=NOW_S * 1000, picousd=12_000_000)
    await owner.settle(account="shop", user="bob", at_ms=NOW_S * 1000, picousd=3)
    await owner.settle(account="other", user="eve", at_ms=NOW_S * 1000, picousd=1)
    await owner.save()

    async def run(line: str) -> str:
        assert await asyncio.to_thread(main, line.split()) == 0
        return capsys.readouterr().out

    text = await run("spend --since 7d --by account,user --account shop")
    assert "$0.000012" in text
    assert "eve" not in text
    header, *rows = csv.reader((await run("spend --since 7d --by user --csv")).splitlines())
    assert [row[0] for row in rows] == ["'=anna", "bob", "eve"]
    assert [row[header.index("spent_picousd")] for row in rows] == ["12000000", "3", "1"]
    found = json.loads(await run("spend --since 7d --by account,day --json"))
    assert found["total"]["spent_picousd"] == 12_000_004
    assert {row["account"] for row in found["rows"]} == {"shop", "other"}
    month = await run("spend")
    assert "no forecast: there is less than a day of use" in month


async def test_f5_the_command_says_when_no_ledger_runs(own_nc, own_nats_server, monkeypatch, capsys):
    await ensure(own_nc.jetstream(), JetStreamPlan(ack_wait_s=10))
    monkeypatch.setenv("NATS_URL", own_nats_server.url)
    assert await asyncio.to_thread(main, ["spend"]) == 1
    assert "no ledger answers" in capsys.readouterr().err


def test_the_partition_of_the_account_of_these_tests_is_the_one_that_they_own():
    assert subjects.partition_of("a") == "2"


async def test_f5_a_ledger_warns_before_the_oldest_spend_is_deleted(
    owner: SpendOwner, caplog: pytest.LogCaptureFixture
):
    await warn_when_nearly_full(owner.nc)
    assert not caplog.text
    js = owner.nc.jetstream()
    await js.publish("llm.spend.month.1.0.1", b"x" * 900)
    stream = await js.stream_info(SPEND_MONTHS.name)
    await js.update_stream(stream.config.evolve(max_bytes=stream.state.bytes + 100))
    await warn_when_nearly_full(owner.nc)
    assert "LLM_SPEND_MONTHS is 9" in caplog.text
