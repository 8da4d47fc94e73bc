"""D3: when a request is handed back instead of being tried again by this worker."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from penstock.bus.clock import loop_now_s
from penstock.runtime.config.catalogue import Limits
from penstock.runtime.config.degradation import Degradation, OnRateLimit
from services.worker.execution.state import GaveUp, HandBack
from services.worker.providers.errors.failures import ProviderFailure
from tests.unit.worker.worker_parts import WorkerParts, catalogue_of


class _Case:
    """A request for these models, executed by a worker beside another one."""

    def __init__(
        self, *, beside: bool = True, models: tuple[str, ...] = ("m",), limits: Limits | None = None
    ) -> None:
        self.parts = WorkerParts(catalogue_of(models=models, limits=limits), ("A_KEY",))
        if beside:
            self.parts.hear_other_worker()
        self.execution = self.parts.execution(lasts_s=60)
        self.execution.chain = models

    def fails(self, kind: Any, model: str = "m", **about: Any) -> None:
        self.parts.next_attempt.after_failure(
            self.execution, model, ProviderFailure(kind, "so it was", **about)
        )

    async def next_model(self) -> str:
        permit = await self.parts.selection.next_call(self.execution)
        return permit.key.model


@pytest.mark.parametrize("kind", ["credentials", "budget_spent", "not_found"])
async def test_d3_a_refused_key_or_missing_model_hands_the_request_back(kind: Any) -> None:
    case = _Case()
    now_s = loop_now_s()
    case.parts.availability.refusals.record_spent_budget("A_KEY", ("m",), began_s=now_s, now_s=now_s)
    case.fails(kind)
    with pytest.raises(HandBack):
        await case.next_model()
    case.parts.hear_other_worker(withdrawn_models=("m",))
    with pytest.raises(GaveUp):
        await case.next_model()


async def test_d3_a_refusal_of_the_request_itself_ends_it_here() -> None:
    case = _Case()
    case.fails("refused")
    with pytest.raises(GaveUp):
        await case.next_model()


async def test_d3_an_unreachable_provider_is_left_to_another_worker() -> None:
    case = _Case()
    case.fails("connection", connected=False)
    with pytest.raises(HandBack):
        await case.next_model()
    alone = _Case(beside=False)
    alone.fails("connection", connected=False)
    assert await alone.next_model() == "m"


@pytest.mark.parametrize("other_is_cut_off", [True, False])
async def test_d3_two_unconnected_workers_do_not_pass_a_request_to_and_fro(*, other_is_cut_off: bool) -> None:
    case = _Case()
    case.execution.delivery = 2
    case.fails("connection", connected=False)
    if other_is_cut_off:
        case.parts.hear_other_worker(unreachable_providers=("p",))
        assert await case.next_model() == "m"
        return
    began_s = loop_now_s()
    with pytest.raises(HandBack):
        await case.next_model()
    assert loop_now_s() - began_s > 0.4


async def test_d8_a_wait_for_quota_that_a_cancel_cuts_off_counts_as_a_wait() -> None:
    parts = WorkerParts(catalogue_of(limits=Limits(concurrency=1)), ("A_KEY",))
    first, execution = parts.execution(lasts_s=60), parts.execution(lasts_s=60)
    first.chain = execution.chain = ("m",)
    await parts.selection.next_call(first)
    waiting = asyncio.create_task(parts.selection.next_call(execution))
    await asyncio.sleep(0.1)
    waiting.cancel()
    await asyncio.wait({waiting})
    assert waiting.cancelled()
    assert execution.calls.waited_s > 0.05


async def test_d4_another_model_follows_a_failed_one_also_when_its_backoff_is_over_before_the_choice() -> (
    None
):
    """A worker that did not run for a moment, or waited for its ledger, calls no model twice before the others."""
    case = _Case(models=("m", "other"))
    case.fails("server_error")
    case.fails("server_error")  # before any output the same model was called once more
    await asyncio.sleep(30.0)
    assert await case.next_model() == "other"
    case.fails("server_error", model="other")
    await asyncio.sleep(30.0)
    assert await case.next_model() == "m", "all have failed"


@pytest.mark.parametrize("skips", [True, False])
async def test_d4_after_a_failure_a_model_without_quota_is_passed_only_where_the_settings_say_so(
    *, skips: bool
) -> None:
    case = _Case(models=("m", "limited", "other"), limits=Limits(concurrency=1))
    before = case.parts.execution(lasts_s=600)
    before.chain = ("limited",)
    await case.parts.selection.next_call(before)
    case.execution.degradation = Degradation(on_rate_limit=OnRateLimit(enabled=skips))
    case.fails("server_error")
    case.fails("server_error")  # before any output the same model was called once more
    await asyncio.sleep(30.0)
    assert await case.next_model() == ("other" if skips else "m")
    assert case.execution.models_without_quota == (("limited",) if skips else ())
    assert len(case.execution.throttled_quotas) == 1, "the quota that the request met is recorded"
