"""How long a part of an answer is: in bytes, whatever the alphabet."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Raw

__all__ = ["answer_bytes"]


def answer_bytes(text: str, choices: Iterable[Raw] = ()) -> int:
    """Of the text as UTF-8, and of the choice objects as they stand."""
    text_bytes = len(text) if text.isascii() else len(text.encode())
    return text_bytes + sum(map(len, choices))
