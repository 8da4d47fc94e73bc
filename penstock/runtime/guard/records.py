"""Guard policies as records of the bucket `llm_guard`: the keys are `account.<account>`, and `every` for all others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from penstock.bus.bucket import Record
from penstock.bus.log_limits import rate_limited_logger
from penstock.contract import codec
from penstock.contract.guard.policies import EVERY, GuardPolicy
from penstock.contract.streams import GUARD_POLICIES
from penstock.contract.subjects import is_token
from penstock.runtime.config.guard import action_problem

__all__ = ["account_label", "decoded", "policy_key", "records_of"]

_log: Final = rate_limited_logger(__name__)


def policy_key(account: str) -> str:
    """The key under which the policy of `account` is stored. Raises ValueError for a name that no account has."""
    if account == EVERY:
        return "every"
    if not is_token(account):
        raise ValueError("the account is not valid")
    return f"account.{account}"


def account_label(account: str) -> str:
    """The account of a policy in messages for operators."""
    return "every account" if account == EVERY else f"account {account}"


def decoded(record: Record) -> GuardPolicy:
    """The content of a record. Raises ValueError with the reason if it is not valid."""
    try:
        policy = codec.GUARD_POLICY.decode(record.data)
    except codec.INVALID as error:
        raise ValueError(str(error)) from error
    expected = policy_key(policy.account)
    if record.key != expected:
        raise ValueError(f"it belongs to the key {expected}")
    for direction, actions in (("input", policy.input), ("output", policy.output)):
        for name, action in actions.items():
            problem = action_problem(name, action)
            if problem is not None:
                raise ValueError(f"{direction}: {name} {problem[0]}")
    return policy


def records_of(stored: Iterable[Record], last: Mapping[str, GuardPolicy]) -> dict[str, GuardPolicy]:
    """The valid policies by account. In place of one that is not valid, the one of this key in `last` stays in force,
    if any.
    """
    known = {policy_key(account): policy for account, policy in last.items()}
    policies: dict[str, GuardPolicy] = {}
    for record in stored:
        found: GuardPolicy | None
        try:
            found = decoded(record)
        except ValueError as error:
            found = known.get(record.key)
            stays = "the policy of the configuration applies" if found is None else "the last one stays"
            _log.warning("%s/%s holds no valid record, %s: %s", GUARD_POLICIES.name, record.key, stays, error)
        if found is not None:
            policies[found.account] = found
    return policies
