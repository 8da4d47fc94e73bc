"""The usage event of one provider attempt, with its cost (F2, F4)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from penstock.contract.events import UsageRecorded
from penstock.contract.names import DegradationRule
from penstock.contract.reply import Usage
from penstock.contract.work import ChatWork
from penstock.runtime.config.catalogue import Catalogue
from penstock.runtime.pricing import FREE, PriceTable, cost_picousd, microusd, saved_by_cache_picousd

__all__ = ["AttemptRecord", "UsageEvents", "saved_by_routing_microusd", "usage_message_id"]

_COMPLETED: Final = "completed"
"""The outcome of the attempt that answered its request, which ends with it."""
_PICO_PER_MICRO: Final = 1_000_000


class AttemptRecord(Struct, kw_only=True):
    """A finished attempt."""

    number: int
    model: str
    credential: str
    outcome: str
    """`completed`, a failure kind, or `cancelled`."""
    usage: Usage
    estimated: bool = False
    first_token_ms: float | None = None
    duration_ms: float = 0.0
    degraded: tuple[DegradationRule, ...] = ()
    prices: PriceTable | None = None
    """The prices when it began, against which its hold was checked; None: those of the moment."""
    ends: bool | None = None
    """Whether the request ends with it; None: if it completed. One of several attempts at the parts of a request may
    complete before the others."""


class UsageEvents:
    """Makes the usage events of attempts at the models of one catalogue."""

    def __init__(self, catalogue: Catalogue, prices: PriceTable) -> None:
        self._catalogue = catalogue
        self._prices = prices

    def of(self, work: ChatWork, record: AttemptRecord, *, at_ms: int, worker: str) -> UsageRecorded:
        """The event of an attempt for `work`, which ended at `at_ms`."""
        usage = record.usage
        table = self._prices if record.prices is None else record.prices
        prices = table.prices_of(record.model)
        cost = cost_picousd(usage, prices or FREE)
        saved = saved_by_routing_microusd(
            self._catalogue.all_roles[work.role].chain,
            table,
            record.model,
            usage.input_tokens,
            usage.output_tokens,
        )
        return UsageRecorded(
            id=work.id,
            attempt=record.number,
            account=work.account,
            user=work.user,
            role=work.role,
            lane=work.lane,
            complexity=work.complexity,
            provider=self._catalogue.models[record.model].provider,
            model=record.model,
            credential=record.credential,
            outcome=record.outcome,
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cached_input_tokens=usage.cached_input_tokens,
            reasoning_tokens=usage.reasoning_tokens,
            estimated=record.estimated,
            cost_microusd=microusd(cost),
            saved_by_routing_microusd=saved,
            first_token_ms=record.first_token_ms,
            duration_ms=record.duration_ms,
            at_ms=at_ms,
            worker=worker,
            hold_id=work.hold_id,
            client=work.client,
            key=work.key,
            kind=work.kind,
            cost_picousd=cost,
            saved_by_cache_picousd=saved_by_cache_picousd(usage, prices or FREE),
            priced=prices is not None,
            ends=record.outcome == _COMPLETED if record.ends is None else record.ends,
            degraded=record.degraded,
        )


def usage_message_id(event: UsageRecorded) -> str:
    """The `Nats-Msg-Id`: of one attempt one event is stored."""
    return f"{event.account}.{event.client}.{event.id}.{event.attempt}"


def saved_by_routing_microusd(
    chain: Iterable[str], prices: PriceTable, chosen: str, input_tokens: int, output_tokens: int
) -> int:
    """The cost of these tokens on the most expensive model of the chain, minus their cost on the chosen one.

    Whole micro-dollars, rounded down, never negative (F4). Cached input is ignored, and so are models without a price;
    0 if the chosen one has none.
    """
    own = prices.prices_of(chosen)
    if own is None:
        return 0
    listed = (each for model in chain if (each := prices.prices_of(model)) is not None)
    highest = max((each.input * input_tokens + each.output * output_tokens for each in listed), default=0)
    return max(0, highest - own.input * input_tokens - own.output * output_tokens) // _PICO_PER_MICRO
