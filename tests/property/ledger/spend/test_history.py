"""The spend history counts each settlement exactly once, whatever fails and when."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.contract.ledger.spend import SpendQuery
from tests.harness.suite.examples import examples
from tests.unit.ledger.spend.history_world import DAY_S, SpendWorld

START_S = 1_790_000_000 // DAY_S * DAY_S
ALWAYS = (0, 2**40)

settlements = st.tuples(
    st.just("settle"),
    st.sampled_from([0, 600, 7_200, DAY_S, 2 * DAY_S]),
    st.sampled_from(["u", "v"]),
    st.sampled_from(["m", "n"]),
    st.integers(0, 2**60),
)
steps = st.one_of(
    settlements,
    settlements,
    st.tuples(st.just("pass"), st.sampled_from([60, 3_600, 5 * 3_600, DAY_S, 4 * DAY_S, 20 * DAY_S])),
    st.tuples(st.just("save"), st.sampled_from([None, None, 0, 1, 2])),
    st.tuples(st.just("fail_to_save")),
    st.tuples(st.just("compact"), st.sampled_from([None, None, 0, 1, 2, 3, 5, 8])),
    st.tuples(st.just("crash"), st.sampled_from([None, 0, 1])),
    st.tuples(st.just("rewrite"), st.sampled_from([None, 0, 1])),
)


async def run(plan) -> SpendWorld:
    world = SpendWorld(START_S)
    for step, *arguments in plan:
        if step == "settle":
            late_s, user, model, picousd = arguments
            world.settle(late_s, user=user, model=model, picousd=picousd)
        elif step == "pass":
            world.pass_time(arguments[0])
            await world.save()  # a snapshot follows each change within a minute
            await world.compact()
        elif step == "fail_to_save":
            await world.fail_to_save()
        else:
            world.store.changes_left = arguments[0]
            if step == "crash":
                world.crash()
                await world.take_over()
            else:
                await getattr(world, step)()
            world.store.changes_left = None
        await check(world)
    return world


async def check(world: SpendWorld) -> None:
    since_s, until_s = ALWAYS
    for by in ((), ("month",), ("user", "model")):
        query = SpendQuery(since_s=since_s, until_s=until_s, by=by)
        assert await world.ask(query) == world.truth(query)
    today = world.now_s // DAY_S * DAY_S
    for query in (
        SpendQuery(since_s=today, until_s=today + DAY_S, by=("hour", "user")),
        SpendQuery(since_s=today - 2 * DAY_S, until_s=today, by=("day",)),
        SpendQuery(since_s=today - 30 * DAY_S, until_s=today + 3_600, by=("hour",), user="u"),
        SpendQuery(since_s=today - 200 * DAY_S, until_s=today + DAY_S, by=("day",), account="a"),
    ):
        assert await world.ask(query) == world.truth(query)


@settings(max_examples=examples(300))
@given(st.lists(steps, max_size=25))
def test_f2_f5_every_settlement_counts_once_after_any_order_of_snapshots_crashes_and_sums(plan):
    asyncio.run(run(plan))


@pytest.mark.parametrize("failing", range(12))
def test_f2_a_crash_after_any_write_of_a_compaction_changes_no_sum(failing):
    plan = [
        *[("settle", 0, "u", "m", 5), ("save", None), ("settle", 0, "v", "m", 7), ("save", None)],
        ("settle", DAY_S, "u", "n", 11),
        ("save", None),
    ]

    async def story() -> None:
        world = await run(plan)
        world.pass_time(33 * DAY_S)
        world.store.changes_left = failing
        await world.compact()
        await check(world)
        world.crash()
        world.store.changes_left = None
        await world.take_over()
        await world.compact()
        await check(world)
        assert await world.history.compact(world.owner.written, world.now_s) == 0

    asyncio.run(story())
