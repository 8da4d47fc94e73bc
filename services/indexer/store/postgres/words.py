"""Words for PostgreSQL's full-text search, in the text forms of its types.

They are not parsed by a text search configuration, which would split or drop some: the words are normalised already,
and both stores of the indexer must find the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

__all__ = ["word_query", "word_vector"]

_WORD_BYTES: Final = 1_000
"""Longer words are not stored. PostgreSQL allows 2,046."""
_ALL_BYTES: Final = 500_000
"""Of the different words of one chunk. PostgreSQL allows 1,048,575."""
_POSITIONS: Final = 255
_LAST_POSITION: Final = 16_383


def word_vector(terms: str) -> str:
    """A tsvector as text: each word with its positions, from which a search counts how often it occurs."""
    positions: dict[str, list[int]] = {}
    total = 0
    for position, word in enumerate(terms.split(), 1):
        if word not in positions:
            size = len(word.encode())
            if size > _WORD_BYTES or total + size > _ALL_BYTES:
                continue
            total += size
            positions[word] = []
        if len(positions[word]) < _POSITIONS:
            positions[word].append(min(position, _LAST_POSITION))
    return " ".join(f"{_quoted(word)}:{','.join(map(str, at))}" for word, at in positions.items())


def word_query(words: Sequence[str]) -> list[str]:
    """One tsquery as text for each different word that can be stored."""
    return [_quoted(word) for word in dict.fromkeys(words) if len(word.encode()) <= _WORD_BYTES]


def _quoted(word: str) -> str:
    escaped = word.replace("\\", "\\\\").replace("'", "''")
    return f"'{escaped}'"
