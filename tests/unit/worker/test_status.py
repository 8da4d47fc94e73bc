"""C3: a worker forecasts the quotas that it can use."""

from __future__ import annotations

import pytest

from penstock.bus.clock import loop_now_s
from penstock.runtime.config.catalogue import Limits
from services.worker.rate_limit.quota import QuotaKey
from tests.unit.worker.worker_parts import WorkerParts, catalogue_of


@pytest.fixture
def parts() -> WorkerParts:
    return WorkerParts(catalogue_of(limits=Limits(concurrency=2)))


def _forecast_sources(parts: WorkerParts) -> set[str]:
    return {each.source for each in parts.status().presence({"chat": []}, "http://here").forecasts}


async def test_c3_every_usable_credential_is_forecast(parts: WorkerParts) -> None:
    assert _forecast_sources(parts) == {"w/A_KEY/m", "w/B_KEY/m", "w/C_KEY/m"}


async def test_c3_a_refused_credential_is_not_forecast(parts: WorkerParts) -> None:
    now_s = loop_now_s()
    parts.availability.refusals.record_refusal(QuotaKey("B_KEY", "m"), began_s=now_s, now_s=now_s)
    assert _forecast_sources(parts) == {"w/A_KEY/m", "w/C_KEY/m"}


async def test_c3_a_credential_is_forecast_once_it_has_a_key(parts: WorkerParts) -> None:
    for name in ("A_KEY", "C_KEY"):
        parts.availability.refusals.record_missing_key(name)
    assert _forecast_sources(parts) == {"w/B_KEY/m"}
    parts.availability.refusals.record_rotation("A_KEY", loop_now_s())
    assert _forecast_sources(parts) == {"w/A_KEY/m", "w/B_KEY/m"}
