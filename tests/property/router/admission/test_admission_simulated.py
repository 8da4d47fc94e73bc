"""C3 over many loads and limits, in a simulated system: admitted requests are served, and capacity is fully used.

These tests determine the margins of the decision. `tests/prove/test_admission.py` shows the same with real processes.
"""

from __future__ import annotations

from collections import Counter

import pytest
from msgspec.structs import replace

from penstock.runtime.config.catalogue import Limits
from tests.harness.suite.examples import cases
from tests.property.router.admission.admission_world import PRESSED_HEARTBEAT_S, Load, World

MINUTES = 2.5
LIMIT = Limits(requests_per_minute=600)
OVERLOAD = Load(per_s=30, timeout_s=15, limits=LIMIT)
QUOTA_BINDS = {
    "three times the limit": OVERLOAD,
    "another seed": replace(OVERLOAD, seed=2),
    "a fifth too much": replace(OVERLOAD, per_s=12),
    "short deadlines": replace(OVERLOAD, timeout_s=5),
    "one user sends all requests": replace(OVERLOAD, users=1),
    "five users": replace(OVERLOAD, users=5),
    "four workers": replace(OVERLOAD, workers=4, slots=16),
    "local quotas": replace(OVERLOAD, limits=Limits(requests_per_minute=300), shared=False, slots=8),
}
SLOW = Load(per_s=24, timeout_s=15, slots=8, service_s=(1, 3))
SLOTS_BIND = {
    "three times the slots": SLOW,
    "slots stand empty between requests": replace(SLOW, overhead_s=0.3),
    "three users": replace(SLOW, users=3),
    "long deadlines": replace(SLOW, timeout_s=40),
}


def _most_calls(load: Load) -> float:
    """Requests at `per_s` use up a limit, and the limit recovers as it was used, window after window."""
    window = min(600.0, load.per_s * 60)
    last_s = MINUTES * 60 - 120
    return 2 * window + min(window, load.per_s * last_s)


def _kept(*worlds: World) -> float:
    ends = sum((world.ends for world in worlds), Counter())
    accepted = ends["completed"] + ends["late"]
    calls = sum(world.calls for world in worlds)
    print(f"\n{dict(ends)}: {ends['completed'] / accepted:.2%} of {accepted} kept, {calls} calls")
    return ends["completed"] / accepted


@pytest.mark.parametrize(
    "name", cases(QUOTA_BINDS, long={"another seed", "five users", "four workers", "local quotas"})
)
def test_c3_admitted_requests_get_quota_and_none_is_left(name: str) -> None:
    world = World(QUOTA_BINDS[name])

    world.run(MINUTES * 60)

    assert _kept(world) >= 0.99
    assert world.calls >= 0.97 * _most_calls(QUOTA_BINDS[name])
    assert all(delay_s > 0 for delay_s in world.retry_delays_s)


@pytest.mark.parametrize("name", cases(SLOTS_BIND, long={"three users", "long deadlines"}))
def test_c3_admitted_requests_get_slots_and_none_is_idle(name: str) -> None:
    load = SLOTS_BIND[name]
    seeds = (1, 2, 3) if load.timeout_s > OVERLOAD.timeout_s else (1,)  # a long queue varies more
    worlds = [World(replace(load, seed=seed)) for seed in seeds]

    for world in worlds:
        world.run(MINUTES * 60)

    assert _kept(*worlds) >= 0.99
    most = load.workers * load.slots * MINUTES * 60 / (2.0 + load.overhead_s)
    assert all(world.calls >= 0.95 * most for world in worlds)


FLOODED = Load(per_s=1.5, timeout_s=3, slots=4, workers=1, service_s=(0.3, 0.5), users=1000, flood=400)
BURSTS = {
    "quota": replace(OVERLOAD, timeout_s=6, burst_s=5.0),
    "quota, once in ten seconds": replace(OVERLOAD, timeout_s=6, burst_s=10.0),
    "slots": Load(per_s=24, timeout_s=6, slots=8, service_s=(0.5, 1.5), burst_s=5.0),
    "slots, once in ten seconds": Load(per_s=24, timeout_s=6, slots=8, service_s=(0.5, 1.5), burst_s=10.0),
}


@pytest.mark.parametrize(
    "name", cases(BURSTS, long={"quota, once in ten seconds", "slots", "slots, once in ten seconds"})
)
def test_c3_several_routers_admit_as_many_as_one(name: str) -> None:
    """Bursts of ten times the mean load, each shorter than the interval of the shared counts."""
    accepted, late = {}, {}
    for routers in (1, 3, 6):
        world = World(replace(BURSTS[name], routers=routers))
        world.run(20)  # a role without measured service times rejects nothing
        world.ends.clear()
        world.run(160)
        accepted[routers] = world.ends["completed"] + world.ends["late"]
        late[routers] = world.ends["late"]
        print(f"\n{name}, {routers} routers: {late[routers]} of {accepted[routers]} late")

    for routers in (3, 6):
        assert late[routers] - late[1] <= 0.01 * accepted[routers]
        assert accepted[routers] >= 0.97 * accepted[1]


ESTIMATED = {
    "quota": OVERLOAD,
    "quota of a token bucket": replace(OVERLOAD, limits=Limits(requests_per_minute=600, kind="token_bucket")),
    "quota, four workers": replace(OVERLOAD, workers=4, slots=16),
    "quota, one user": replace(OVERLOAD, users=1),
    "quota, three routers": replace(OVERLOAD, routers=3),
    "slots": SLOW,
    "slots, three users": replace(SLOW, users=3),
    "slots, one user sends 400 at once": FLOODED,
}


@pytest.mark.parametrize(
    "name",
    cases(
        ESTIMATED,
        long=ESTIMATED.keys()
        - {"quota, one user", "slots, three users", "slots, one user sends 400 at once"},
    ),
)
def test_e5_estimated_waits_come_true(name: str) -> None:
    """At least 19 of 20 are within a factor of two, where a heartbeat of a quarter of a second may be missing."""
    world = World(ESTIMATED[name])

    world.run(MINUTES * 60)

    waited = [each for worker in world.workers for each in worker.waited if each.estimate.wait_s is not None]
    ratios = sorted(
        (each.estimate.wait_s + PRESSED_HEARTBEAT_S) / (each.wait_s + PRESSED_HEARTBEAT_S)
        for each in waited
        if max(each.wait_s, each.estimate.wait_s) > 1
    )
    close = sum(0.5 <= ratio <= 2 for ratio in ratios) / len(ratios)
    print(
        f"\n{name}: {close:.1%} of {len(ratios)}, the median is {ratios[len(ratios) // 2]:.2f} times the wait"
    )
    assert len(ratios) > 300
    assert close >= 0.95
    assert 0.8 <= ratios[len(ratios) // 2] <= 1.25
    positions = [each.estimate.position for each in waited]
    assert max(positions) > 10


@pytest.mark.parametrize("seed", cases(range(5), long={1, 2, 3, 4}))
def test_c3_load_below_the_limit_is_never_rejected(seed: int) -> None:
    """The load is nine tenths of the limit at random times, with more slots than needed."""
    world = World(Load(per_s=9, timeout_s=3, limits=LIMIT, seed=seed))

    world.run(MINUTES * 60)

    assert world.ends["rejected"] == 0
    assert world.ends["late"] == 0


LEAST_LET_IN = {
    "once": (FLOODED, 1.0),
    "once, up to its deadline": (replace(FLOODED, flood=2000), 1.0),
    "repeated": (replace(FLOODED, per_s=6, flood_again_s=20), 0.5),
    "repeated, with newcomers for all slots": (replace(FLOODED, per_s=14, flood_again_s=20), 0.4),
    "limited by quota": (
        Load(per_s=8, timeout_s=15, limits=LIMIT, users=1000, flood=900, flood_again_s=20),
        0.35,
    ),
}


@pytest.mark.parametrize("name", LEAST_LET_IN)
def test_c6_short_deadlines_are_admitted_beside_a_flood_of_long_ones(
    name: str,
) -> None:
    load, least = LEAST_LET_IN[name]
    world = World(load)

    world.run(MINUTES * 60)
    world.load = replace(load, per_s=0, flood=0)
    world.run(load.flood_timeout_s)  # until every queued request has ended

    met = world.met_flood
    print(f"\n{name}: {dict(met)} of the others, {dict(world.flooded)} of the flood")
    assert met["accepted"] >= least * met.total()
    assert _kept(world) >= 0.99
