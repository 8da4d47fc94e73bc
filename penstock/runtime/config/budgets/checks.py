"""Checks of the section `budgets` beyond types: tiers and time zones that must exist, names that can be stored."""

from __future__ import annotations

import difflib
import zoneinfo
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any, Final

from msgspec import UNSET

from penstock.contract.subjects import MAX_TOKEN_CHARACTERS, is_token
from penstock.runtime.config.budgets.section import (
    TRAFFIC_PARTS,
    UNLIMITED,
    AccountBudget,
    Budgets,
    ScopeBudget,
)
from penstock.runtime.config.problems import ProblemReport, define_or_use, joined, nearest

__all__ = ["check_budgets", "is_time_zone", "limits_money", "nearest_time_zone"]

_TOKEN_FIX: Final = f"use 1 to {MAX_TOKEN_CHARACTERS} of A-Z a-z 0-9 _ -"


def check_budgets(budgets: object, report: ProblemReport) -> None:
    """Report every mistake in the values that could be read."""
    if not isinstance(budgets, Budgets):
        return
    _check_time_zone(budgets.time_zone, "budgets.time_zone", report)
    _check_names(budgets.tiers, "budgets.tiers", "a tier", report)
    _check_names(budgets.accounts, "budgets.accounts", "an account", report)
    for path, scope, is_whole in _scopes(budgets):
        _check_tier(scope, path, budgets, report)
        _check_time_zone(scope.time_zone, f"{path}.time_zone", report)
        if not is_whole:
            _check_only_whole(scope, path, report)


def limits_money(budgets: Budgets) -> bool:
    """Whether a budget or a tier limits money."""
    scopes = (*budgets.tiers.values(), *(scope for _, scope, _ in _scopes(budgets)))
    traffic = [
        part
        for scope in scopes
        for part in (scope, scope.chat, scope.embed, scope.background)
        if part is not None
    ]
    return any(
        limit not in (None, UNLIMITED)
        for part in traffic
        for limit in (part.microusd_per_day, part.microusd_per_month)
    )


def is_time_zone(name: str) -> bool:
    """Whether `name` is in the IANA database: that of this machine, else that of the package tzdata."""
    return name in _known_zones()


def nearest_time_zone(name: str) -> str:
    """A fix that names the time zone that is probably meant."""
    known = _known_zones()
    cities = {zone.rpartition("/")[2].lower(): zone for zone in sorted(known)}
    city = cities.get(name.strip().lower().replace(" ", "_"))
    if city is not None:
        return f"write {city}, if that is what you meant"
    close = difflib.get_close_matches(name, known, n=1)
    return nearest(name, close) if close else "write a name of the IANA database, such as Europe/Berlin"


@cache
def _known_zones() -> frozenset[str]:
    """Read once, because it looks at every file. Without the names that mean another zone on each machine."""
    return frozenset(zoneinfo.available_timezones() - {"localtime", "Factory"})


def _scopes(budgets: Budgets) -> Iterator[tuple[str, ScopeBudget, bool]]:
    """Every scope that could be read with its path, and whether it is the system or an account."""
    for part in ("system", "every_account", "every_user", "every_key"):
        yield from _scope(budgets, part, "budgets", is_whole=part in ("system", "every_account"))
    for name, account in _entries(budgets.accounts):
        path = joined("budgets.accounts", name)
        yield path, account, True
        for part in ("every_user", "every_key"):
            yield from _scope(account, part, path, is_whole=False)
        for part in ("users", "keys"):
            yield from (
                (joined(path, part, key), each, False) for key, each in _entries(getattr(account, part))
            )


def _scope(
    parent: Budgets | AccountBudget, part: str, path: str, *, is_whole: bool
) -> Iterator[tuple[str, ScopeBudget, bool]]:
    scope = getattr(parent, part)
    if isinstance(scope, ScopeBudget):
        yield f"{path}.{part}", scope, is_whole


def _entries(section: Any) -> Iterable[tuple[str, Any]]:
    """The entries of a section; none if it could not be read."""
    return section.items() if isinstance(section, dict) else ()


def _check_names(section: object, path: str, kind: str, report: ProblemReport) -> None:
    for name, _ in _entries(section):
        if not is_token(name):
            report.add(joined(path, name), f"is not a valid name of {kind}", _TOKEN_FIX)


def _check_tier(scope: ScopeBudget, path: str, budgets: Budgets, report: ProblemReport) -> None:
    tiers: object = budgets.tiers
    if isinstance(tiers, dict) and scope.tier not in ("", UNSET, *tiers):
        fix = define_or_use("budgets.tiers", scope.tier, tiers)
        report.add(f"{path}.tier", "there is no tier of that name", fix)


def _check_only_whole(scope: ScopeBudget, path: str, report: ProblemReport) -> None:
    """Report what only the system and accounts may have."""
    if scope.time_zone not in ("", UNSET):
        fix = "move it to the account, whose periods its users and keys have"
        report.add(f"{path}.time_zone", "applies to accounts and to the system only", fix)
    for part in TRAFFIC_PARTS:
        if getattr(scope, part) is not None:
            fix = "move it to the account, or limit all traffic of the user or key"
            report.add(f"{path}.{part}", "applies to accounts and to the system only", fix)


def _check_time_zone(name: object, path: str, report: ProblemReport) -> None:
    if isinstance(name, str) and name and not is_time_zone(name):
        report.add(path, "is not a time zone that this machine knows", nearest_time_zone(name))
