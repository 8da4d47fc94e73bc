"""Where a part of the spend history is stored."""

from __future__ import annotations

from typing import Final, NamedTuple

from penstock.contract.subjects import SPEND

__all__ = ["SpendAddress", "spend_address"]

_START: Final = SPEND.split(".")[:2]


class SpendAddress(NamedTuple):
    """The parts of a subject of the spend history."""

    grain: str
    """`hour`, `day` or `month`."""
    start: int
    """The beginning of that UTC period, Unix seconds."""
    partition: str
    chunk: str
    """Which chunk of the period, and which part of it."""

    @property
    def subject(self) -> str:
        return SPEND.format(**self._asdict())


def spend_address(subject: str) -> SpendAddress | None:
    """The parts of a subject of the spend history; None for any other text."""
    parts = subject.split(".")
    if len(parts) != 6 or parts[:2] != _START or not parts[3].isdecimal():
        return None
    return SpendAddress(parts[2], int(parts[3]), parts[4], parts[5])
