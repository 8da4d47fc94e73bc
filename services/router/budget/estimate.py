"""The most that a request may cost, estimated before its work starts (F1, F4)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from msgspec import Struct

from penstock.contract import subjects
from penstock.contract.ledger.holds import HoldRequest
from penstock.contract.ledger.policies import TokenPrices
from penstock.runtime.config.catalogue import Catalogue
from penstock.runtime.holds import HOLD_GRACE_MS
from penstock.runtime.model_chain import needs_of, order
from penstock.runtime.output_limit import output_tokens
from penstock.runtime.pricing import estimate_picousd
from penstock.runtime.tokens import with_margin
from services.router.routing.outcome import Routed

__all__ = ["CostEstimator", "Prices"]


class Prices(Protocol):
    def prices_of(self, model: str) -> TokenPrices | None:
        """The prices of a model by its key in the catalogue; None: not known."""
        ...


class _Cost(Struct, frozen=True):
    picousd: int
    unpriced: tuple[str, ...]
    """Models without a price."""


class CostEstimator:
    """Estimates requests with the prices of the moment."""

    def __init__(self, catalogue: Catalogue, prices: Prices) -> None:
        self._catalogue = catalogue
        self._prices = prices

    def hold_request(self, routed: Routed, wait_s: float) -> HoldRequest:
        """What to ask of the ledger: the cost at the most expensive model that may answer, with a full-length answer.

        `wait_s`: how long the answer may wait for holds of other requests.
        """
        work = routed.work
        role = self._catalogue.all_roles[work.role]
        input_tokens = with_margin(work.estimated_tokens)
        output_limit = output_tokens(routed.max_tokens, role) * routed.choices
        needs = needs_of(work.estimated_tokens, vision=work.vision)
        chain = order(role, self._catalogue.models, work.complexity, needs)
        cost = self._highest_cost(chain, input_tokens, output_limit)
        return HoldRequest(
            id=subjects.hold_id(work.reply_to),
            account=work.account,
            user=work.user,
            key=work.key,
            traffic="background" if work.lane == "batch" else "chat",
            role=work.role,
            picousd=cost.picousd,
            tokens=input_tokens + output_limit,
            output_tokens=output_limit,
            unpriced=cost.unpriced,
            deadline_ms=work.deadline_ms + HOLD_GRACE_MS,
            wait_s=wait_s,
        )

    def _highest_cost(self, models: Iterable[str], input_tokens: int, output_limit: int) -> _Cost:
        highest, unpriced = 0, []
        for model in models:
            prices = self._prices.prices_of(model)
            if prices is None:
                unpriced.append(model)
            else:
                highest = max(highest, estimate_picousd(input_tokens, output_limit, prices))
        return _Cost(highest, tuple(unpriced))
