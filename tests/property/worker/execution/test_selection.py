"""D4, D7: which model is called after failures, over chains of models in every state."""

from __future__ import annotations

import asyncio
from typing import Literal

from hypothesis import given
from hypothesis import strategies as st

from penstock.bus.clock import loop_now_s
from penstock.runtime.config.catalogue import Limits
from penstock.runtime.config.degradation import Degradation, OnRateLimit
from tests.harness.suite.virtual_time import run
from tests.unit.worker.worker_parts import WorkerParts, catalogue_of

BACKOFF_S = 5.0
State = Literal["untried", "failed", "backs_off", "no_quota", "failed_no_quota", "excluded"]
STATES: tuple[State, ...] = ("untried", "failed", "backs_off", "no_quota", "failed_no_quota", "excluded")
"""`failed`: its backoff is over."""


async def _called(states: list[State], *, skips: bool) -> tuple[int | None, tuple[str, ...]]:
    """The position of the model that is called at once, if one is, and the models that were skipped for it."""
    models = tuple(f"m{number}" for number in range(len(states)))
    parts = WorkerParts(catalogue_of(models=models, limits=Limits(concurrency=1)), ("A_KEY",))
    execution = parts.execution(lasts_s=600)
    execution.chain, execution.degradation = models, Degradation(on_rate_limit=OnRateLimit(enabled=skips))
    await asyncio.sleep(1.0)
    history, now_s = execution.history, loop_now_s()
    for model, state in zip(models, states, strict=True):
        if state in {"no_quota", "failed_no_quota"}:
            other = parts.execution(lasts_s=600)
            other.chain = (model,)
            await parts.selection.next_call(other)
        if state in {"failed", "failed_no_quota"}:
            history.not_before_s[model] = now_s - 0.5
        elif state == "backs_off":
            history.not_before_s[model] = now_s + BACKOFF_S
        elif state == "excluded":
            history.excluded.add(model)
    try:
        async with asyncio.timeout(BACKOFF_S / 2):
            permit = await parts.selection.next_call(execution)
    except TimeoutError:
        return None, ()
    return models.index(permit.key.model), execution.models_without_quota


@given(st.lists(st.sampled_from(STATES), min_size=1, max_size=5), st.booleans())
def test_d4_untried_models_come_first_and_no_model_that_is_waited_for_is_passed(
    states: list[State], skips: bool
) -> None:
    if set(states) == {"excluded"}:
        return
    without_quota = [at for at, state in enumerate(states) if state in {"no_quota", "failed_no_quota"}]
    end = len(states) if skips or not without_quota else without_quota[0]
    in_reach = states[:end]
    called, skipped = run(_called(states, skips=skips))
    wanted = next((each for each in ("untried", "failed") if each in in_reach), None)
    if wanted is None:
        assert called is None
        return
    assert called == in_reach.index(wanted)
    assert skipped == tuple(f"m{at}" for at in without_quota if at < called)
