"""What attempts of a request cost: its amount, and whether the amount is complete."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from services.worker.budget.hold_cover import NOTHING, Amount

__all__ = ["NO_CHARGE", "Charge", "charge_of"]


class Charge(Struct, frozen=True, gc=False):
    """Of one attempt, or of several together."""

    spent: Amount = NOTHING
    unpriced_attempts: int = 0
    """Attempts that used tokens of a model without a price, which `spent` has without their cost."""

    def plus(self, other: Charge) -> Charge:
        return Charge(self.spent.plus(other.spent), self.unpriced_attempts + other.unpriced_attempts)

    def minus(self, other: Charge) -> Charge:
        spent = Amount(self.spent.picousd - other.spent.picousd, self.spent.tokens - other.spent.tokens)
        return Charge(spent, self.unpriced_attempts - other.unpriced_attempts)


NO_CHARGE: Final = Charge()


def charge_of(picousd: int, tokens: int, *, priced: bool) -> Charge:
    """Of one attempt; one that used no tokens cost nothing, whatever the price."""
    return Charge(Amount(picousd, tokens), int(tokens > 0 and not priced))
