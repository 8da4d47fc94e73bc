"""The tokens of an attempt that its provider did not count, counted by a tokenizer (F2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from msgspec import Raw, Struct, structs

from penstock.contract.reply import Usage, answer_bytes
from penstock.contract.work import ChatWork
from penstock.runtime.config.catalogue import Model
from penstock.runtime.pricing import FREE, PriceTable, cost_picousd
from services.worker.accounting.charge import Charge, charge_of
from services.worker.execution.delta_sink import JoinedDelta
from services.worker.providers.streams.choices import content_bytes
from services.worker.providers.streams.chunks import ChunkDelta
from services.worker.providers.usage import TokenCounts
from services.worker.token_counting.counter import TokenCounter
from services.worker.token_counting.messages import Produced

__all__ = ["NOTHING_MISSING", "Missing", "MissingCounts", "ProducedText", "missing_of"]


class Missing(Struct, frozen=True):
    """Which counts the provider did not send."""

    input: bool = False
    output: bool = False
    least_output: int = 0
    """What the provider had counted before the end."""


NOTHING_MISSING: Final = Missing()


def missing_of(counted: TokenCounts) -> Missing:
    """A count of 0 is missing too. Nothing is if the total is known: it bounds the estimates."""
    if counted.total_tokens is not None:
        return NOTHING_MISSING
    return Missing(input=not counted.input_tokens, output=not counted.output_tokens)


class _Whole(Struct):
    choices: list[Raw] = []


_decode_whole: Final = msgspec.json.Decoder(_Whole).decode


class ProducedText(Struct, frozen=True):
    """What the model wrote in one attempt."""

    kept: Sequence[JoinedDelta | ChunkDelta]
    content_bytes: int
    """Of the whole, also of what was not kept."""
    response: Raw | None = None
    """The body of a call that did not stream."""

    def to_count(self) -> Produced:
        if self.response is not None:
            try:
                choices = _decode_whole(self.response).choices
            except (ValueError, RecursionError):
                choices = []
            return Produced(choices=[bytes(each) for each in choices])
        text = "".join(delta.text for delta in self.kept).encode(errors="replace")
        return Produced(text, [bytes(each) for delta in self.kept for each in delta.choices])

    def whole_of(self, tokens: int) -> int:
        """The tokens of the whole, from those of the part that was kept."""
        kept = sum(answer_bytes(delta.text) + sum(map(content_bytes, delta.choices)) for delta in self.kept)
        if self.response is not None or not 0 < kept < self.content_bytes:
            return tokens
        return -(-tokens * self.content_bytes // kept)


class MissingCounts:
    """Counts where tokens are paid for without the word of the provider."""

    def __init__(self, models: Mapping[str, Model], prices: PriceTable, counter: TokenCounter | None) -> None:
        """`counter`: None leaves the estimates."""
        self._names = {key: model.name or key for key, model in models.items()}
        self._prices = prices
        self._counter = counter

    def wanted(self, work: ChatWork, model: str) -> bool:
        """Whether a count matters: the model has a price, or the request a budget."""
        if self._counter is None:
            return False
        prices = self._prices.prices_of(model)
        return work.hold_id is not None or (prices is not None and bool(prices.input or prices.output))

    def charge(self, model: str, usage: Usage, prices: PriceTable | None) -> Charge:
        """At these prices; None: at those of the moment."""
        price = (self._prices if prices is None else prices).prices_of(model)
        tokens = usage.input_tokens + usage.output_tokens
        return charge_of(cost_picousd(usage, price or FREE), tokens, priced=price is not None)

    async def count(
        self, model: str, usage: Usage, missing: Missing, body: bytes, produced: ProducedText
    ) -> Usage:
        """`usage` with the missing counts; unchanged where they cannot be counted."""
        if self._counter is None:
            return usage
        counted = await self._counter.count(
            self._names[model],
            body if missing.input else None,
            produced.to_count() if missing.output else None,
        )
        if counted is None:
            return usage
        changes: dict[str, int] = {}
        if counted.input_tokens:
            changes["input_tokens"] = counted.input_tokens
        if counted.output_tokens is not None:
            changes["output_tokens"] = max(missing.least_output, produced.whole_of(counted.output_tokens))
        return structs.replace(usage, **changes)
