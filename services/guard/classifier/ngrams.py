"""A linear score over hashed character n-grams of normalised text: fast on texts of any length."""

from __future__ import annotations

import re
from typing import Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

__all__ = ["BITS", "NgramScore", "ngrams_of", "weighed"]

BITS: Final = 16
WIDTHS: Final = (2, 3, 4, 5)
_FOLDED: Final = str.maketrans("ığşçöüё", "igscoue")
_DIGITS: Final = re.compile(r"\d+")
_BLANKS: Final = re.compile(r"\s+")
_BLANK: Final = 32


class NgramScore(Struct, frozen=True):
    weights: NDArray[np.float32]
    constant: float

    def of(self, text: str) -> float:
        """The score of a text in plain spelling, above 0 for one that looks like an attack."""
        return float(weighed(text, self.weights)) + self.constant


def weighed(text: str, weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """The sum of the weights of the n-grams of a text in plain spelling, each counted once, divided by the root of
    their number: one value, or one for each column of `weights`.
    """
    found = np.unique(ngrams_of(text))
    return np.asarray(weights[found].sum(axis=0) / np.sqrt(np.float32(max(1, len(found)))))


def ngrams_of(text: str) -> NDArray[np.int64]:
    """The numbers of the n-grams of 2 to 5 characters that do not reach over a blank inside them. `text` is in plain
    spelling.

    Letter case, Turkish diacritics and the values of numbers do not count. The hash is a
    polynomial over code points, mixed as in splitmix64, so that it is the same everywhere.
    """
    folded = text.replace("İ", "i").lower().translate(_FOLDED)
    folded = f" {_BLANKS.sub(' ', _DIGITS.sub('0', folded)).strip()} "
    codes = np.frombuffer(folded.encode("utf-32-le", "replace"), dtype=np.uint32).astype(np.uint64)
    blank = codes == _BLANK
    found = []
    rolling = codes + np.uint64(1)
    blanks_inside = np.zeros(len(codes), dtype=bool)
    for width in range(2, max(WIDTHS) + 1):
        if len(codes) < width:
            break
        count = len(codes) - width + 1
        rolling = rolling[:count] * np.uint64(0x100000001B3) + codes[width - 1 :] + np.uint64(1)
        if width > 2:
            blanks_inside = blanks_inside[:count] | blank[width - 2 : width - 2 + count]
            found.append(_mixed(rolling[~blanks_inside], width))
        else:
            blanks_inside = blanks_inside[:count]
            found.append(_mixed(rolling, width))
    return np.concatenate(found) if found else np.zeros(0, dtype=np.int64)


def _mixed(values: NDArray[np.uint64], width: int) -> NDArray[np.int64]:
    mixed = values * np.uint64(0x9E3779B97F4A7C15) + np.uint64(width)
    mixed ^= mixed >> np.uint64(29)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    return (mixed >> np.uint64(64 - BITS)).astype(np.int64)
