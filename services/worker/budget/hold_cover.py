"""Whether the hold of a request covers its next attempt, and how much it has to reserve if not (F1). Pure."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from penstock.contract.ledger.policies import TokenPrices
from penstock.contract.work import ChatWork
from penstock.runtime.pricing import estimate_picousd
from penstock.runtime.tokens import with_margin

__all__ = ["NOTHING", "Amount", "AttemptTokens", "attempt_amount", "attempt_tokens", "needed_hold"]


class Amount(Struct, frozen=True, gc=False):
    """Money and tokens, of attempts or reserved for them."""

    picousd: int = 0
    tokens: int = 0

    def plus(self, other: Amount) -> Amount:
        return Amount(self.picousd + other.picousd, self.tokens + other.tokens)


NOTHING: Final = Amount()


class AttemptTokens(Struct, frozen=True, gc=False):
    """The most tokens that one attempt may use."""

    input_tokens: int
    output_tokens: int


def attempt_tokens(work: ChatWork, output_tokens: int, *, added_tokens: int = 0) -> AttemptTokens:
    """The tokens for which the router reserved, of whose output it knows the number of choices too.

    `output_tokens`: the output limit of one choice, for work that the router reserved nothing for.
    `added_tokens`: estimated, of what stands before the messages of the request.
    """
    input_tokens = with_margin(work.estimated_tokens)
    reserved_output = work.hold_tokens - input_tokens
    added = with_margin(added_tokens) if added_tokens else 0
    return AttemptTokens(input_tokens + added, reserved_output if reserved_output > 0 else output_tokens)


def attempt_amount(tokens: AttemptTokens, prices: TokenPrices | None) -> Amount:
    """What an attempt may use; without a price it costs no money."""
    picousd = 0 if prices is None else estimate_picousd(tokens.input_tokens, tokens.output_tokens, prices)
    return Amount(picousd, tokens.input_tokens + tokens.output_tokens)


def needed_hold(held: Amount, spent: Amount, next_attempt: Amount) -> Amount | None:
    """The amounts to ask for before the next attempt; None: what is held covers it.

    Amounts of a hold are cumulative: `spent` is part of them. They never fall.
    """
    needed = spent.plus(next_attempt)
    if needed.picousd <= held.picousd and needed.tokens <= held.tokens:
        return None
    return Amount(max(held.picousd, needed.picousd), max(held.tokens, needed.tokens))
