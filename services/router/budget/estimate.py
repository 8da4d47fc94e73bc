"""The most that a request may cost, estimated before its work starts (F1, F4)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from penstock.contract import subjects
from penstock.contract.ledger.holds import HoldRequest
from penstock.contract.ledger.policies import TokenPrices
from penstock.runtime.config.budgets.section import Budgets
from penstock.runtime.config.catalogue import Catalogue, RoleConfig
from penstock.runtime.holds import HOLD_GRACE_MS, traffic_of
from penstock.runtime.model_chain import needs_of_work, order
from penstock.runtime.output_limit import output_limit
from penstock.runtime.pricing import estimate_picousd
from penstock.runtime.tokens import with_margin
from services.router.routing.outcome import Routed

__all__ = ["CostEstimator"]


class _Prices(Protocol):
    def prices_of(self, model: str) -> TokenPrices | None:
        """The prices of a model by its key in the catalogue; None: not known."""
        ...


class _Cost(Struct, frozen=True):
    picousd: int
    unpriced: tuple[str, ...]
    """Models without a price."""


class CostEstimator:
    """Estimates requests with the prices of the moment."""

    def __init__(self, catalogue: Catalogue, prices: _Prices) -> None:
        self._catalogue = catalogue
        self._prices = prices
        self._assumed_output_tokens = (catalogue.budgets or Budgets()).assumed_output_tokens

    def bounded(self, routed: Routed) -> Routed:
        """The request with the output limit that a worker sends where neither the request nor its role has one.

        Vectors have no output tokens.
        """
        if (
            routed.work.kind == "embed"
            or output_limit(routed.max_tokens, self._catalogue.all_roles[routed.work.role]) is not None
        ):
            return routed
        work = replace(routed.work, assumed_output_tokens=self._assumed_output_tokens)
        return replace(routed, work=work)

    def hold_request(self, routed: Routed, wait_s: float) -> HoldRequest:
        """What to ask of the ledger: the cost at the most expensive model that may answer, with a full-length answer.

        `wait_s`: how long the answer may wait for holds of other requests.
        """
        work = routed.work
        role = self._catalogue.all_roles[work.role]
        input_tokens = with_margin(work.estimated_tokens)
        output_tokens = self._output_tokens(routed, role)
        needs = needs_of_work(work)
        chain = order(role, self._catalogue.models, work.complexity, needs)
        cost = self._highest_cost(chain, input_tokens, output_tokens)
        return HoldRequest(
            id=subjects.hold_id(work.reply_to),
            account=work.account,
            user=work.user,
            key=work.key,
            traffic=traffic_of(work.lane, work.kind),
            role=work.role,
            picousd=cost.picousd,
            tokens=input_tokens + output_tokens,
            output_tokens=output_tokens,
            output_assumed=work.kind == "chat" and routed.max_tokens is None,
            unpriced=cost.unpriced,
            deadline_ms=work.deadline_ms + HOLD_GRACE_MS,
            wait_s=wait_s,
        )

    def _output_tokens(self, routed: Routed, role: RoleConfig) -> int:
        if routed.work.kind == "embed":
            return 0
        return (output_limit(routed.max_tokens, role) or self._assumed_output_tokens) * routed.choices

    def _highest_cost(self, models: Iterable[str], input_tokens: int, output_tokens: int) -> _Cost:
        highest, unpriced = 0, []
        for model in models:
            prices = self._prices.prices_of(model)
            if prices is None:
                unpriced.append(model)
            else:
                highest = max(highest, estimate_picousd(input_tokens, output_tokens, prices))
        return _Cost(highest, tuple(unpriced))
