"""Changes of budget policies and prices: compare-and-set in the bucket, then an event for the audit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from nats.js import JetStreamContext

from penstock.contract import subjects
from penstock.contract.events import BudgetPolicyChanged, PriceChanged
from penstock.contract.ledger.policies import BudgetPolicy, PriceOverride
from penstock.contract.streams import BUDGETS
from penstock.runtime.buckets.changes import AuditedRecords, Author
from penstock.runtime.budgets.records import decoded, policy_key, price_key

__all__ = ["POLICY_EVENTS", "PRICE_EVENTS", "change_policy", "change_price"]

POLICY_EVENTS: Final = subjects.EVENT.format(kind="policy", scope="*")
PRICE_EVENTS: Final = subjects.EVENT.format(kind="price", scope="*")
_POLICIES: Final = AuditedRecords(
    bucket=BUDGETS,
    kind=BudgetPolicy,
    decoded=decoded,
    event=lambda before, after, author: BudgetPolicyChanged(
        before=before, after=after, changed_by=author.name, at_ms=author.at_ms
    ),
    event_kind="policy",
)
_PRICES: Final = AuditedRecords(
    bucket=BUDGETS,
    kind=PriceOverride,
    decoded=decoded,
    event=lambda before, after, author: PriceChanged(
        before=before, after=after, changed_by=author.name, at_ms=author.at_ms
    ),
    event_kind="price",
)


async def change_policy(
    js: JetStreamContext,
    named: BudgetPolicy,
    change: Callable[[BudgetPolicy | None], BudgetPolicy | None],
    author: Author,
) -> BudgetPolicyChanged | None:
    """Replace the policy that has the scope and the names of `named` by the result of `change`, which gets the stored
    one. None: there is none, or it is removed. Returns None, and stores nothing, where nothing would change.

    Raises RecordChanged when another process changed it at the same time, ValueError where scope and names do not fit,
    StreamFull, and nats errors.
    """
    return await _POLICIES.change(js, policy_key(named), change, author)


async def change_price(
    js: JetStreamContext,
    model: str,
    change: Callable[[PriceOverride | None], PriceOverride | None],
    author: Author,
) -> PriceChanged | None:
    """Replace the prices of a model by the result of `change`, which gets those that were set before; None: those of
    the catalogue apply. Returns and raises as `change_policy`.
    """
    return await _PRICES.change(js, price_key(model), change, author)
