"""One call with a permit, for chat requests and for batches of embeddings: what it means for shared state."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from msgspec import Struct, field

from penstock.bus.clock import loop_now_s
from services.worker.execution.attempt import Spent
from services.worker.execution.outcomes import Outcomes
from services.worker.execution.selection import CallPermit, Selection
from services.worker.execution.state import CallState
from services.worker.providers.errors.failures import Health, ProviderFailure
from services.worker.rate_limit.quota import QuotaKey

__all__ = ["PermittedCall", "report_outcome", "settle_at_exit"]


class PermittedCall(Struct):
    """What one call used, and what it says of its model's health."""

    spent: Spent = field(default_factory=lambda: Spent(tokens=0))
    health: Health = "neutral"


@contextmanager
def settle_at_exit(selection: Selection, outcomes: Outcomes, permit: CallPermit) -> Iterator[PermittedCall]:
    """Give the permit back at the end, however the call ended."""
    call = PermittedCall()
    try:
        yield call
    finally:
        selection.settle(permit, call.spent)
        outcomes.report_health(permit.key.model, permit.admission, call.health)


@contextmanager
def report_outcome(
    outcomes: Outcomes, state: CallState, key: QuotaKey, call: PermittedCall
) -> Iterator[None]:
    """Report the outcome of the call made inside to the state of its model and credential."""
    began_s = loop_now_s()
    try:
        yield
    except ProviderFailure as failure:
        call.health = outcomes.record_failure(state, key, failure, began_s)
        raise
    except asyncio.CancelledError:
        call.health = "failure" if state.silent_until_deadline else "neutral"
        raise
    outcomes.record_success(key, began_s)
    call.health = "success"
