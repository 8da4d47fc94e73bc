"""Numbers and dates of the catalogue with their bounds, and what to report outside them."""

from __future__ import annotations

from sys import float_info
from typing import Annotated, Any, Final

from msgspec import Meta

__all__ = [
    "Date",
    "Limit",
    "MicroUsd",
    "NotNegative",
    "NotNegativeInt",
    "Positive",
    "PositiveInt",
    "Share",
    "Weight",
    "between",
    "bounded",
]


def bounded(problem: str, fix: str, **bounds: Any) -> Meta:
    """Bounds of a number, with the problem and the fix to report outside them."""
    return Meta(extra={"problem": problem, "fix": fix}, **bounds)


def _plain(number: float) -> str:
    """Without an exponent: YAML reads `1e+06` as text."""
    return f"{int(number)}" if number == int(number) else f"{number:g}"


def between(low: float, high: float) -> Meta:
    span = f"between {_plain(low)} and {_plain(high)}"
    return bounded(f"must be {span}", f"write a number {span}", ge=low, le=high)


_ABOVE_0: Final = ("must be more than 0, and finite", "write a number above 0")
_FROM_0: Final = ("must be 0 or more, and finite", "write 0 to switch it off")
Positive = Annotated[float, bounded(*_ABOVE_0, gt=0, le=float_info.max)]
PositiveInt = Annotated[int, bounded(*_ABOVE_0, gt=0)]
NotNegative = Annotated[float, bounded(*_FROM_0, ge=0, le=float_info.max)]
NotNegativeInt = Annotated[int, bounded(*_FROM_0, ge=0)]
Share = Annotated[
    float, bounded("is not a share", "write a number from 0 to below 1, as 0.05 for 5%", ge=0, lt=1)
]
Limit = Annotated[int, bounded("must be more than 0", "leave it out for no limit", gt=0)]
Weight = Annotated[
    int,
    bounded("must be more than 0", "write its share as a whole number above 0, or take the model out", gt=0),
]
Date = Annotated[
    str,
    bounded(
        "is not a date",
        "write it as YYYY-MM-DD",
        pattern=r"^(\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01]))?$",
    ),
]
"""A day as YYYY-MM-DD; empty: not known."""
MicroUsd = Annotated[int, bounded("is negative", "write micro-dollars per million tokens, 0 if free", ge=0)]
