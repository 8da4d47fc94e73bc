"""C3: what a worker foretells of its quotas is what it can use."""

from __future__ import annotations

import pytest

from penstock.bus.clock import loop_now_s
from penstock.runtime.config.catalogue import Limits
from services.worker.rate_limit.quota import QuotaKey
from tests.unit.worker.worker_parts import WorkerParts, catalogue_of


@pytest.fixture
def parts() -> WorkerParts:
    return WorkerParts(catalogue_of(limits=Limits(concurrency=2)))


def _foretold(parts: WorkerParts) -> set[str]:
    return {each.source for each in parts.status().presence({"chat": []}, "http://here").forecasts}


async def test_every_credential_that_can_be_used_is_foretold_c3(parts: WorkerParts) -> None:
    assert _foretold(parts) == {"w/A_KEY/m", "w/B_KEY/m", "w/C_KEY/m"}


async def test_a_credential_that_is_refused_gives_nothing_c3(parts: WorkerParts) -> None:
    now_s = loop_now_s()
    parts.availability.refusals.record_refusal(QuotaKey("B_KEY", "m"), began_s=now_s, now_s=now_s)
    assert _foretold(parts) == {"w/A_KEY/m", "w/C_KEY/m"}


async def test_a_credential_without_a_key_gives_nothing_until_it_has_one_c3(parts: WorkerParts) -> None:
    for name in ("A_KEY", "C_KEY"):
        parts.availability.refusals.record_missing_key(name)
    assert _foretold(parts) == {"w/B_KEY/m"}
    parts.availability.refusals.record_rotation("A_KEY", loop_now_s())
    assert _foretold(parts) == {"w/A_KEY/m", "w/B_KEY/m"}
