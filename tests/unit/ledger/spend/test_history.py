"""The spend history over a long time: sums by hour, day and month, and what remains when detail has aged out."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from penstock.contract.ledger.spend import RecentSpend, SpendKey, SpendQuery
from penstock.contract.ledger.spend_address import SpendAddress
from services.ledger.spend.chunks import Listing, pack
from services.ledger.spend.history import HistoryChanged, listing_of
from services.ledger.spend.query import answer_query
from services.ledger.spend.rows import decode_rows, settled_row
from tests.unit.ledger.spend.history_world import DAY_S, PARTITION, MemoryHistory, SpendWorld
from tests.unit.ledger.spend.settlements import settled

pytestmark = pytest.mark.real_time
START_S = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp())
MONTHS = 14


async def test_f5_fourteen_months_of_spend_stay_exact_by_month_and_by_day_for_a_year():
    world = SpendWorld(START_S)
    end_s = int(datetime(2027, 3, 1, tzinfo=UTC).timestamp())
    number = 0
    while world.now_s < end_s:
        number += 1
        world.settle(picousd=number, user=f"u{number % 3}")
        if number % 5 == 0:
            world.settle(late_s=2 * DAY_S if world.now_s > START_S + 2 * DAY_S else 0, picousd=2 * number)
        await world.save()
        world.pass_time(2 * DAY_S - 3600)
        world.settle(user="u1")
        await world.save()
        world.pass_time(3600)
        await world.compact()
    by_month = SpendQuery(since_s=START_S, until_s=end_s, by=("month", "user"))
    assert await world.ask(by_month) == world.truth(by_month)
    assert len({row.key.start_s for row in (await world.ask(by_month)).rows}) == MONTHS
    last_year = SpendQuery(since_s=end_s - 390 * DAY_S, until_s=end_s, by=("day",))
    assert await world.ask(last_year) == world.truth(last_year)
    last_month = SpendQuery(since_s=end_s - 30 * DAY_S, until_s=end_s, by=("hour",))
    assert await world.ask(last_month) == world.truth(last_month)

    listing = await listing_of(world.store)
    (month, *_) = listing.months(PARTITION)
    assert listing.shorter(month)[0].start_s > START_S, "days that are older than 400 days are not kept"
    assert len(world.store.parts) < 14 + 400 + 35 * 24, "what sums replace is deleted"


async def test_f5_hours_that_aged_out_are_counted_at_the_beginning_of_their_day():
    world = SpendWorld(START_S + 6 * 3600)
    world.settle(picousd=3)
    world.settle(late_s=3600, picousd=4)
    await world.save()
    world.pass_time(4 * DAY_S)
    await world.compact()
    world.pass_time(36 * DAY_S)
    report = await world.ask(SpendQuery(since_s=START_S, until_s=START_S + DAY_S, by=("hour",)))
    assert [(row.key.start_s, row.amounts.picousd) for row in report.rows] == [(START_S, 7)]


async def test_f2_full_storage_loses_nothing_and_counts_nothing_twice():
    world = SpendWorld(START_S)
    query = SpendQuery(since_s=0, until_s=2**40, by=("hour", "user"))
    for changes in (0, 1, 2, 0, None):
        world.settle()
        world.settle(late_s=3600)
        world.store.changes_left = changes
        await world.save()
        assert await world.ask(query) == world.truth(query)
    assert world.owner is not None
    assert world.owner.written == 10
    assert not world.owner.recent(10).rows


async def test_f5_filters_and_dimensions_of_a_query():
    world = SpendWorld(START_S)
    world.settle(user="u", key="k", role="coding", model="m", picousd=2)
    world.settle(user="v", key="", role="chat", model="n", picousd=5)
    await world.save()
    world.settle(user="u", key="k", role="chat", model="n", picousd=9)

    async def picousd(**fields):
        report = await world.ask(SpendQuery(since_s=START_S, until_s=START_S + 1, **fields))
        return [(row.key, row.amounts.picousd) for row in report.rows], report.total.picousd, report.users

    assert await picousd() == ([], 16, 2)
    assert await picousd(by=("user",)) == (
        [(SpendKey(0, "", "u", "", "", ""), 11), (SpendKey(0, "", "v", "", "", ""), 5)],
        16,
        2,
    )
    assert await picousd(by=("role", "model"), user="u") == (
        [(SpendKey(0, "", "", "", "chat", "n"), 9), (SpendKey(0, "", "", "", "coding", "m"), 2)],
        11,
        1,
    )
    assert (await picousd(by=("key",)))[0] == [
        (SpendKey(0, "", "", "k", "", ""), 11),
        (SpendKey(0, "", "", "", "", ""), 5),
    ]
    assert await picousd(account="other") == ([], 0, 0)
    assert await picousd(by=("user",), limit=1) == ([(SpendKey(0, "", "u", "", "", ""), 11)], 16, 2)


async def test_a_partition_without_an_owner_is_named_and_its_history_counts():
    world = SpendWorld(START_S)
    world.settle(picousd=2)
    await world.save()
    world.settle(picousd=5)
    world.crash()
    report = await world.ask(SpendQuery(since_s=0, until_s=2**40, account="a"))
    assert report.total.picousd == 2
    assert len(report.missing_partitions) == 1


async def test_a_query_reads_again_when_sums_were_made_meanwhile():
    world = SpendWorld(START_S)
    world.settle(picousd=2)
    await world.save()
    world.settle(picousd=5)
    stale = await world.recent(map(str, range(8)), SpendQuery(since_s=0, until_s=2**40))
    await world.save()
    world.pass_time(10 * DAY_S)
    await world.compact()

    class Owners:
        asked = 0

        async def recent(self, partitions, query):
            self.asked += 1
            return stale if self.asked == 1 else await world.recent(partitions, query)

    owners = Owners()
    report = await answer_query(SpendQuery(since_s=0, until_s=2**40), world.store, owners)
    assert (report.total.picousd, owners.asked) == (7, 2)

    class NeverCurrent:
        async def recent(self, partitions, _query):
            return {each: RecentSpend(since=0, rows=()) for each in partitions}

    with pytest.raises(HistoryChanged):
        await answer_query(SpendQuery(since_s=0, until_s=2**40), world.store, NeverCurrent())


async def test_a_damaged_part_is_reported_with_its_subject():
    world = SpendWorld(START_S)
    world.settle()
    await world.save()
    (address,) = world.store.parts
    world.store.parts[address] = (0, b"damaged")
    with pytest.raises(ValueError, match=rf"hour\.{address.start}\..*not rows"):
        await world.ask(SpendQuery(since_s=0, until_s=2**40))


async def test_a_large_chunk_counts_only_with_all_of_its_parts():
    world = SpendWorld(START_S)
    for number in range(12_000):
        world.settle(user=f"user-{number}", picousd=number)
    world.store.changes_left = 2
    await world.save()
    assert len(world.store.parts) == 2
    query = SpendQuery(since_s=0, until_s=2**40)
    assert (await world.ask(query)).total.picousd == sum(range(12_000))
    world.store.changes_left = None
    await world.write()
    assert len(world.store.parts) == 6
    assert (await world.ask(query)).total.picousd == sum(range(12_000))


def test_parts_fit_into_512_kib_and_have_every_row_once():
    rows = tuple(settled_row(settled(user=f"{number:x}" + "é" * 300_000)) for number in range(3))
    rows += tuple(
        settled_row(settled(user=f"{number * 0x9E3779B97F4A7C15:x}" * 8)) for number in range(9_000)
    )
    parts = pack(rows)
    assert max(map(len, parts)) <= 512 * 1024
    assert tuple(row for part in parts for row in decode_rows(part)) == rows
    assert pack(()) == pack([])


async def test_subjects_of_another_version_are_ignored():
    store = MemoryHistory()
    await store.write(SpendAddress("hour", 0, "1", "v2-7"), b"")
    assert Listing(await store.subjects("hour", "1")).months("1") == []


async def test_a_damaged_part_stops_the_sums_of_its_month_only():
    world = SpendWorld(START_S)
    world.settle(picousd=1)
    await world.save()
    (damaged,) = world.store.parts
    world.pass_time(32 * DAY_S)
    world.settle(picousd=2)
    await world.save()
    world.store.parts[damaged] = (world.now_s, b"damaged")
    world.pass_time(5 * DAY_S)
    await world.compact()
    listing = await listing_of(world.store)
    first, second = listing.months(PARTITION)
    assert listing.sum_of(first) is None
    assert damaged in world.store.parts
    assert listing.sum_of(listing.shorter(second)[0]) is not None
