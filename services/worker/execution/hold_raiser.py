"""Raises the hold of a request before an attempt that it does not cover, or ends the request (F1)."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from penstock.bus.log_limits import rate_limited_logger
from penstock.contract import headers
from penstock.contract.ledger.holds import HoldGranted, HoldRefused, HoldRequest
from penstock.runtime.config.budgets.section import Budgets
from penstock.runtime.holds import HOLD_GRACE_MS, HoldClient, LedgerUnavailable, traffic_of
from penstock.runtime.pricing import PriceTable
from services.worker.budget.hold_cover import AttemptTokens, attempt_amount, attempt_tokens, needed_hold
from services.worker.execution.state import Execution, GaveUp

__all__ = ["HoldRaiser"]

_log: Final = rate_limited_logger(__name__)
_RETRY_S: Final = 3.0
"""Seconds within which another ledger takes over the partitions of a dead one."""


class HoldRaiser(Struct, frozen=True):
    """Asks the ledger; a request without attempts that cost anything asks nothing."""

    client: HoldClient
    prices: PriceTable
    budgets: Budgets

    async def cover(self, execution: Execution, model: str, most: AttemptTokens | None = None) -> None:
        """Reserve enough for another attempt at `model`, at the prices of this moment, which then are the attempt's:
        a price that is raised meanwhile does not cost more than the hold. `most`: what the attempt may use with those
        that run beside it; None: a whole request.

        Raises GaveUp where the budget does not allow it.
        """
        work, now = execution.work, self.prices.snapshot()
        execution.prices = now
        if work.hold_id is None:
            return
        prices = now.prices_of(model)
        tokens = most
        if tokens is None:
            added = execution.unreserved_tokens
            tokens = attempt_tokens(work, execution.size.output_tokens, added_tokens=added)
        needed = needed_hold(execution.held, execution.charged.spent, attempt_amount(tokens, prices))
        if needed is None:
            return
        request = HoldRequest(
            id=work.hold_id,
            account=work.account,
            user=work.user,
            key=work.key,
            traffic=traffic_of(work.lane, work.kind),
            role=work.role,
            picousd=needed.picousd,
            tokens=needed.tokens,
            output_tokens=tokens.output_tokens,
            output_assumed=work.assumed_output_tokens is not None,
            raises=True,
            unpriced=() if prices is not None else (model,),
            deadline_ms=work.deadline_ms + HOLD_GRACE_MS,
            wait_s=self.budgets.hold_wait_s,
        )
        await self._raise(execution, request)
        execution.held = needed

    async def _raise(self, execution: Execution, request: HoldRequest) -> None:
        traceparent = execution.span.traceparent
        trace = None if traceparent is None else {headers.TRACEPARENT: traceparent}
        execution.waits_for = "the cost of another attempt was reserved"
        try:
            answer: HoldGranted | HoldRefused = await self.client.hold(request, trace)
        except LedgerUnavailable as error:
            _log.warning("the hold of %s was not raised: %s", request.id, error)
            if self.budgets.when_ledger_unavailable == "refuse":
                message = (
                    "the cost of another attempt could not be reserved, because no budget ledger answers"
                )
                raise GaveUp("budget_unavailable", message, _RETRY_S) from error
            return
        finally:
            execution.waits_for = ""
        if isinstance(answer, HoldRefused):
            message = f"another attempt was not made: {answer.message}"
            raise GaveUp(answer.code, message, answer.retry_after_s, answer.limit)
