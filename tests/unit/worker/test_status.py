"""C3: what a worker foretells of its quotas is what it can use."""

from __future__ import annotations

import pytest

from penstock.bus.clock import loop_now_s
from penstock.runtime.config.catalogue import Limits
from services.worker.execution.equipment import Equipment
from services.worker.rate_limit.quota import QuotaKey
from services.worker.status import describe
from tests.unit.worker.equipped import catalogue_of, equipped


@pytest.fixture
def equipment() -> Equipment:
    return equipped(catalogue_of(limits=Limits(concurrency=2)))


def _foretold(equipment: Equipment) -> set[str]:
    return {each.source for each in describe(equipment, {"chat": []}, "http://here").forecasts}


async def test_every_credential_that_can_be_used_is_foretold_c3(equipment: Equipment) -> None:
    assert _foretold(equipment) == {"w/A_KEY/m", "w/B_KEY/m", "w/C_KEY/m"}


async def test_a_credential_that_is_refused_gives_nothing_c3(equipment: Equipment) -> None:
    now_s = loop_now_s()
    equipment.availability.refusals.refused(QuotaKey("B_KEY", "m"), began_s=now_s, now_s=now_s)
    assert _foretold(equipment) == {"w/A_KEY/m", "w/C_KEY/m"}


async def test_a_credential_without_a_key_gives_nothing_until_it_has_one_c3(equipment: Equipment) -> None:
    for name in ("A_KEY", "C_KEY"):
        equipment.availability.refusals.lacks_key(name)
    assert _foretold(equipment) == {"w/B_KEY/m"}
    equipment.availability.refusals.rotated("A_KEY", loop_now_s())
    assert _foretold(equipment) == {"w/A_KEY/m", "w/B_KEY/m"}
