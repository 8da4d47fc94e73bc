"""C3 over many loads and limits, in a world without servers: what is let in is served, and nothing is left unused.

The margins of the decision are chosen here. The same is shown with real processes in `tests/prove/test_admission.py`.
"""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from penstock.config.catalogue import Limits
from tests.property.admission_world import Plan, World

MINUTES = 2.5
LIMIT = Limits(requests_per_minute=600)
OVERLOAD = Plan(per_s=30, patience_s=15, limits=LIMIT)
QUOTA_BINDS = {
    "three times the limit": OVERLOAD,
    "other dice": replace(OVERLOAD, seed=2),
    "a fifth too much": replace(OVERLOAD, per_s=12),
    "short patience": replace(OVERLOAD, patience_s=5),
    "one user asks for everything": replace(OVERLOAD, users=1),
    "five users": replace(OVERLOAD, users=5),
    "four workers": replace(OVERLOAD, workers=4, slots=16),
    "each worker counts for itself": replace(
        OVERLOAD, limits=Limits(requests_per_minute=300), shared=False, slots=8
    ),
}
SLOW = Plan(per_s=24, patience_s=15, slots=8, service_s=(1, 3))
SLOTS_BIND = {
    "three times the slots": SLOW,
    "slots stand empty between requests": replace(SLOW, overhead_s=0.3),
    "three users": replace(SLOW, users=3),
    "much patience": replace(SLOW, patience_s=40),
}


def _most_calls(plan: Plan) -> float:
    """What comes at `per_s` uses up a limit, and the limit comes back as it was used: window after window."""
    window = min(600.0, plan.per_s * 60)
    last_s = MINUTES * 60 - 120
    return 2 * window + min(window, plan.per_s * last_s)


def _kept(world: World) -> float:
    accepted = world.ends["completed"] + world.ends["late"]
    print(
        f"\n{dict(world.ends)}: {world.ends['completed'] / accepted:.2%} of {accepted} kept, {world.calls} calls"
    )
    return world.ends["completed"] / accepted


@pytest.mark.parametrize("name", QUOTA_BINDS)
def test_c3_what_is_let_in_finds_quota_and_no_quota_is_left(name: str) -> None:
    world = World(QUOTA_BINDS[name])

    world.run(MINUTES * 60)

    assert _kept(world) >= 0.99
    assert world.calls >= 0.97 * _most_calls(QUOTA_BINDS[name])
    assert all(told_s > 0 for told_s in world.told_s)


@pytest.mark.parametrize("name", SLOTS_BIND)
def test_c3_what_is_let_in_finds_a_slot_and_no_slot_stands_empty(name: str) -> None:
    plan = SLOTS_BIND[name]
    world = World(plan)

    world.run(MINUTES * 60)

    assert _kept(world) >= 0.99
    most = plan.workers * plan.slots * MINUTES * 60 / (2.0 + plan.overhead_s)
    assert world.calls >= 0.95 * most


@pytest.mark.parametrize("seed", range(5))
def test_c3_who_fits_is_never_refused(seed: int) -> None:
    """Nine tenths of the limit, at random moments, and far more slots than are needed."""
    world = World(Plan(per_s=9, patience_s=3, limits=LIMIT, seed=seed))

    world.run(MINUTES * 60)

    assert world.ends["refused"] == 0
    assert world.ends["late"] == 0
