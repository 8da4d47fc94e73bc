"""The size of a part of an answer in bytes."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Raw

__all__ = ["answer_bytes"]


def answer_bytes(text: str, choices: Iterable[Raw] = ()) -> int:
    """Bytes of `text` as UTF-8 plus those of the JSON in `choices`."""
    text_bytes = len(text) if text.isascii() else len(text.encode())
    return text_bytes + sum(map(len, choices))
