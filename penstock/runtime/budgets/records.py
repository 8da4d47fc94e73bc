"""Budget policies and price overrides as records of the bucket `llm_budgets`.

The key of a record follows from its content: `policy.system`, `policy.account.<account>`,
`policy.user.<account>.<digest of the user>`, `policy.key.<account>.<prefix>`, `policy.tier.<name>` and
`price.<model>`. `=`, which no name contains, stands for every account, user or key.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Final

from msgspec import Struct, field

from penstock.bus.bucket import Record
from penstock.bus.log_limits import rate_limited_logger
from penstock.contract import codec
from penstock.contract.ledger.policies import EVERY, BudgetPolicy, PriceOverride
from penstock.contract.streams import BUDGETS
from penstock.contract.subjects import is_token, token
from penstock.runtime.config.budgets.checks import is_time_zone

__all__ = ["BudgetRecord", "BudgetRecords", "decoded", "policy_key", "price_key", "records_of"]

_log: Final = rate_limited_logger(__name__)
BudgetRecord = BudgetPolicy | PriceOverride
_ALL: Final = "="
_USER_DIGITS: Final = 32
_MODEL_DIGITS: Final = 12
_MODEL_CHARACTERS: Final = 48


class BudgetRecords(Struct, frozen=True):
    """The records that are in force, by their key in the bucket."""

    policies: Mapping[str, BudgetPolicy] = field(default_factory=dict)
    prices: Mapping[str, PriceOverride] = field(default_factory=dict)


def policy_key(policy: BudgetPolicy) -> str:
    """The key under which a policy is stored. Raises ValueError for one whose scope and names do not fit."""
    scope, account, name = policy.scope, policy.account, policy.name
    problem = _misnamed(policy)
    if problem:
        raise ValueError(problem)
    if scope == "system":
        return "policy.system"
    if scope == "tier":
        return f"policy.tier.{name}"
    if scope == "account":
        return f"policy.account.{_part(account)}"
    stored = _digest(name)[:_USER_DIGITS] if scope == "user" and name != EVERY else _part(name)
    return f"policy.{scope}.{_part(account)}.{stored}"


def price_key(model: str) -> str:
    """The key under which the prices of a model are stored; no two models share one."""
    return f"price.{token(model)[:_MODEL_CHARACTERS]}-{_digest(model)[:_MODEL_DIGITS]}"


def decoded(record: Record) -> BudgetRecord:
    """The content of a record. Raises ValueError with the reason if it is not valid."""
    found: BudgetRecord
    try:
        if record.key.startswith("price."):
            found = codec.PRICE_OVERRIDE.decode(record.data)
            expected = price_key(found.model)
        else:
            found = codec.BUDGET_POLICY.decode(record.data)
            expected = policy_key(found)
            if found.time_zone and not is_time_zone(found.time_zone):
                raise ValueError(f"this machine does not know the time zone {found.time_zone}")
    except codec.INVALID as error:
        raise ValueError(str(error)) from error
    if record.key != expected:
        raise ValueError(f"it belongs to the key {expected}")
    return found


def records_of(stored: Iterable[Record], last: BudgetRecords) -> BudgetRecords:
    """The valid records. In place of one that is not valid, the one of this key in `last` stays in force, if any."""
    policies: dict[str, BudgetPolicy] = {}
    prices: dict[str, PriceOverride] = {}
    for record in stored:
        found: BudgetRecord | None
        try:
            found = decoded(record)
        except ValueError as error:
            found = last.policies.get(record.key) or last.prices.get(record.key)
            stays = "the policy of the configuration applies" if found is None else "the last one stays"
            _log.warning("%s/%s holds no valid record, %s: %s", BUDGETS.name, record.key, stays, error)
        if isinstance(found, BudgetPolicy):
            policies[record.key] = found
        elif found is not None:
            prices[record.key] = found
    return BudgetRecords(policies, prices)


def _misnamed(policy: BudgetPolicy) -> str:
    """Why account and name do not fit the scope; empty if they do."""
    scope, account, name = policy.scope, policy.account, policy.name
    if scope in ("system", "tier") and account:
        return f"a policy of the scope {scope} has no account"
    if scope in ("system", "account") and name:
        return f"a policy of the scope {scope} has no name"
    if scope not in ("system", "tier") and account != EVERY and not is_token(account):
        return "the account is not valid"
    if scope in ("user", "key", "tier") and not name:
        return f"a policy of the scope {scope} needs a name"
    if (scope == "tier" or (scope == "key" and name != EVERY)) and not is_token(name):
        return "the name is not valid"
    return ""


def _part(name: str) -> str:
    return _ALL if name == EVERY else name


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
