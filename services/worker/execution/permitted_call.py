"""One call with a permit, for chat requests and for batches of embeddings: what it means for shared state."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from msgspec import Struct, field

from penstock.bus.clock import loop_now_s
from services.worker.execution.attempt import Spent
from services.worker.execution.outcomes import Outcomes
from services.worker.execution.selection import CallPermit, Selection
from services.worker.execution.state import CallState
from services.worker.providers.errors.failures import Health, ProviderFailure

__all__ = ["PermittedCall", "ReportedOutcome"]


class PermittedCall(Struct):
    """Gives the permit back at the end of what runs inside, however that ends."""

    selection: Selection
    outcomes: Outcomes
    permit: CallPermit
    spent: Spent = field(default_factory=Spent)
    """What the call used."""
    health: Health = "neutral"
    """What it says of its model's health."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        permit = self.permit
        self.selection.settle(permit, self.spent)
        self.outcomes.report_health(permit.quota.key.model, permit.admission, self.health)


class ReportedOutcome(Struct):
    """Reports the outcome of the call that is made inside to the state of its model and credential."""

    call: PermittedCall
    state: CallState
    began_s: float = 0.0

    def __enter__(self) -> None:
        self.began_s = loop_now_s()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        call, key = self.call, self.call.permit.quota.key
        if error is None:
            call.outcomes.record_success(key, self.began_s)
            call.health = "success"
        elif isinstance(error, ProviderFailure):
            call.health = call.outcomes.record_failure(self.state, key, error, self.began_s)
        elif isinstance(error, asyncio.CancelledError):
            call.health = "failure" if self.state.silent_until_deadline else "neutral"
