"""Which figures of the degradation rules make sense (REQUIREMENTS D5)."""

from __future__ import annotations

import math

from msgspec import UNSET, Struct

from penstock.runtime.config.report import Report

__all__ = ["check_degradation"]

_POSITIVE = (
    "slow_s",
    "slow_first_token_s",
    "window_s",
    "hold_s",
    "at_least",
    "floor_tokens",
    "messages",
)
_SHARES = ("share", "calm_share", "cut")


def check_degradation(section: object, path: str, report: Report) -> None:
    """Silent about what could not be read, and about a section that is not there."""
    if not isinstance(section, Struct):
        return
    for name in section.__struct_fields__:
        _check_rule(getattr(section, name), f"{path}.{name}", report)


def _check_rule(rule: object, path: str, report: Report) -> None:
    if not isinstance(rule, Struct):
        return
    for name in rule.__struct_fields__:
        value = getattr(rule, name)
        if value is UNSET:
            continue
        if name in _POSITIVE and not 0 < value < math.inf:
            report.add(f"{path}.{name}", "must be more than 0, and finite", "write a number above 0")
        if name in _SHARES and not 0 <= value < 1:
            report.add(f"{path}.{name}", "is no share", "write a number from 0 to below 1, as 0.05 for 5%")
    share, calm = getattr(rule, "share", UNSET), getattr(rule, "calm_share", UNSET)
    if isinstance(share, float) and isinstance(calm, float) and calm > share:
        fix = "lower it: the rule ends at calm_share, after it began above share"
        report.add(f"{path}.calm_share", f"is above share ({share:g})", fix)
