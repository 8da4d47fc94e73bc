"""Numbers of things as text."""

from __future__ import annotations

__all__ = ["counted"]


def counted(number: int, noun: str) -> str:
    """`1 user`, `1,200 users`: for nouns whose plural has an s."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
