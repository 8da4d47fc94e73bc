"""Cuts the texts of a check into pieces of the size that one call may have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from penstock.contract.guard.checks import CheckedText, TextOrigin
from services.guard.remote.rater import Piece

__all__ = ["pieces_of"]

_OVERLAP_CHARACTERS: Final = 256
"""Characters of a piece that the next one has too, as of the context that was checked before: what is cut in two can
be understood in one of them."""
_BY_MODEL: Final[frozenset[TextOrigin]] = frozenset({"assistant", "output"})


def pieces_of(texts: Sequence[CheckedText], most: int) -> Iterator[tuple[int, Piece]]:
    """Each piece with the index of its text. Texts that are only context or white space have none."""
    for index, text in enumerate(texts):
        if text.text[text.start :].strip():
            for piece in _cut(text.text[max(0, text.start - _OVERLAP_CHARACTERS) :], most):
                yield index, Piece(piece, text.origin in _BY_MODEL)


def _cut(text: str, most: int) -> Iterator[str]:
    start = 0
    while start + most < len(text):
        yield text[start : start + most]
        start += most - min(_OVERLAP_CHARACTERS, most // 2)
    yield text[start:]
