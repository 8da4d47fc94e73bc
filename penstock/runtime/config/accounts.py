"""The sections `every_account` and `accounts`: how fast the requests of an account are taken, and its share."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Final

from msgspec import Struct

from penstock.contract.subjects import MAX_TOKEN_CHARACTERS, is_token
from penstock.runtime.config.bounds import between
from penstock.runtime.config.problems import ProblemReport, joined

__all__ = ["AccountRules", "IntakeRate", "check_accounts", "intake_rate_of", "weight_of"]

_Rate = Annotated[float, between(0.001, 1_000_000)]
_Burst = Annotated[int, between(1, 1_000_000)]
_Weight = Annotated[float, between(0.1, 100)]
_TOKEN_FIX: Final = f"use 1 to {MAX_TOKEN_CHARACTERS} of A-Z a-z 0-9 _ -"


class IntakeRate(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How fast the routers accept the requests of an account, all routers together."""

    requests_per_s: _Rate | None = None
    """Requests per second over a longer time; None: no limit."""
    burst: _Burst | None = None
    """Requests at once after a pause; None: those of one second, at least 1."""

    @property
    def burst_or_default(self) -> int:
        """`burst`, or the requests of one second, at least 1."""
        return self.burst if self.burst is not None else max(math.ceil(self.requests_per_s or 1.0), 1)


class AccountRules(IntakeRate, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The rules of one account; a rate or burst that it lacks is that of `every_account`."""

    weight: _Weight = 1.0
    """Its share beside other accounts: with 2 it has twice the turns of an account with 1."""


def intake_rate_of(
    account: str, accounts: Mapping[str, AccountRules], every_account: IntakeRate
) -> IntakeRate:
    """The rate at which the requests of `account` are accepted; its own rate comes with its own burst."""
    rules = accounts.get(account)
    if rules is None:
        return every_account
    if rules.requests_per_s is not None:
        return IntakeRate(requests_per_s=rules.requests_per_s, burst=rules.burst)
    burst = every_account.burst if rules.burst is None else rules.burst
    return IntakeRate(requests_per_s=every_account.requests_per_s, burst=burst)


def weight_of(account: str, accounts: Mapping[str, AccountRules]) -> float:
    """The share of `account` beside other accounts; 1 unless the file says otherwise."""
    rules = accounts.get(account)
    return 1.0 if rules is None else rules.weight


def check_accounts(every_account: object, accounts: Mapping[str, object], report: ProblemReport) -> None:
    """Report names that no account can have, and bursts without a rate, in the values that could be read."""
    common = every_account if isinstance(every_account, IntakeRate) else None
    if common is not None:
        _check_burst(common, common.requests_per_s, "every_account", report)
    for name, rules in accounts.items():
        if not is_token(name):
            report.add(joined("accounts", name), "is not a valid name of an account", _TOKEN_FIX)
        if isinstance(rules, AccountRules):
            inherited = None if common is None else common.requests_per_s
            own = rules.requests_per_s
            _check_burst(rules, inherited if own is None else own, joined("accounts", name), report)


def _check_burst(rate: IntakeRate, requests_per_s: object, path: str, report: ProblemReport) -> None:
    if isinstance(rate.burst, int) and requests_per_s is None:
        report.add(f"{path}.burst", "has no effect without requests_per_s", "add requests_per_s beside it")
