"""C1, C4: single moments that the network machine found, each by itself."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from penstock.config.catalogue import Limits
from services.worker.limits.quota import Need
from tests.property.quota_world import KEY, QuotaWorld


@pytest.fixture
def world() -> Iterator[QuotaWorld]:
    """Two workers that know each other, and have nothing to do."""
    world = QuotaWorld(Limits(requests_per_minute=9, tokens_per_minute=120))
    for skew_s in (0.0, 5000.0):
        world.join(skew_s)
        world.advance(1.0)
    world.advance(61.0)
    yield world
    world.close()


def test_who_is_idle_hears_what_is_said_in_a_bucket_made_again_c4(world: QuotaWorld):
    """Its revisions begin anew: lower than what is known is no sign of an old entry."""
    first, second = world.processes
    world.lose("anew")
    first.run_now(lambda: first.quota.pause(KEY, first.now_s + 8.0, "429"))
    world.advance(0.4)
    assert second.quota.wait_s(KEY, Need(0), second.now_s) == pytest.approx(7.6, abs=0.1)


def test_a_pause_in_a_bucket_made_again_outlives_the_next_who_finds_it_c4(world: QuotaWorld):
    """Whoever heard of nothing reads an entry that is a while old, and remembers it: it is no newcomer's."""
    first, second = world.processes
    second.is_deaf = True
    world.lose("anew")
    first.run_now(lambda: first.quota.pause(KEY, first.now_s + 8.0, "429"))
    world.advance(0.4)
    second.run_now(lambda: second.quota.pause(KEY, second.now_s + 1.0, "429"))
    world.advance(0.4)
    for each in world.processes:
        assert each.quota.wait_s(KEY, Need(0), each.now_s) == pytest.approx(7.2, abs=0.1)


@pytest.mark.parametrize("ago_s", [0.0, 0.2, 0.3, 1.0])
def test_the_servers_clock_steps_between_the_last_write_and_a_newcomer_c1(world: QuotaWorld, ago_s: float):
    first, _ = world.processes
    for _ in range(9):
        first.ask(0)
    world.advance(0.5)
    first.run_now(lambda: first.quota.pause(KEY, first.now_s + 0.1, "429"))  # written at once
    world.advance(ago_s)
    world.wall_ahead_s += 836.0
    newcomer = world.join(300.0)
    world.advance(0.4)
    for process in (newcomer, first):
        for _ in range(9):
            process.ask(0)
    world.advance(5.0)
    assert world.spent(60.0)[0] == 9
    assert not world.broken


def test_a_call_that_lasts_costs_no_rounds_where_nothing_bounds_how_many_run_c1(world: QuotaWorld):
    """Each round plans a write, and finds that there is nothing to tell."""
    first, _ = world.processes
    first.ask(0)
    world.advance(5.0)
    assert first.permits
    before, began_s = first.rounds, world.now_s
    world.advance(60.0)
    assert first.rounds - before <= 10, f"since {began_s}: one in 20 s is enough"
