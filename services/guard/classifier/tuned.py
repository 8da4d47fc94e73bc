"""The sentence encoder with weights that were tuned for another task, stored as small differences."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from services.guard.classifier.encoder import Encoder, Vectors, encodable

__all__ = ["TUNED_LISTS", "TUNED_MATRICES", "TunedEncoder", "differences"]

TUNED_LISTS: Final = ("w1", "b1", "w2", "b2")
"""The convolutions: one matrix and one row of constants for each of three widths."""
TUNED_MATRICES: Final = ("cnn_W", "cnn_b", "d0", "d1", "d2", "d3", "p1", "p3")
STEP: Final = 0.5
"""Differences are stored as multiples of half their standard deviation: 3 bits each once compressed."""


class TunedEncoder:
    """Shares the table of words with the encoder it was tuned from. Used by one thread at a time."""

    def __init__(self, encoder: Encoder, stored: Mapping[str, NDArray[Any]], most_characters: int) -> None:
        self._most_characters = most_characters
        self._backend: Any = copy.copy(encoder.backend)
        for name in TUNED_MATRICES:
            setattr(self._backend, name, _moved(getattr(encoder.backend, name), stored, name))
        for name in TUNED_LISTS:
            base = getattr(encoder.backend, name)
            setattr(self._backend, name, [_moved(each, stored, f"{name}_{i}") for i, each in enumerate(base)])

    def encode(self, texts: Sequence[str]) -> Vectors:
        """One row of 512 dimensions and length 1 for each text."""
        vectors: Vectors = self._backend.encode([encodable(text, self._most_characters) for text in texts])
        return vectors


def differences(encoder: Encoder, tuned: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """What a tuned encoder is made of again."""
    found: dict[str, NDArray[Any]] = {}
    for name, base in _named(encoder):
        moved = tuned[name] - base
        step = np.float32(max(float(moved.std()) * STEP, 1e-12))
        found[f"{name}.steps"] = np.clip(np.rint(moved / step), -127, 127).astype(np.int8)
        found[f"{name}.step"] = np.array(step)
    return found


def _named(encoder: Encoder) -> list[tuple[str, NDArray[Any]]]:
    lists = [
        (f"{name}_{i}", each) for name in TUNED_LISTS for i, each in enumerate(getattr(encoder.backend, name))
    ]
    return lists + [(name, getattr(encoder.backend, name)) for name in TUNED_MATRICES]


def _moved(base: NDArray[Any], stored: Mapping[str, NDArray[Any]], name: str) -> NDArray[Any]:
    return np.asarray(base + stored[f"{name}.steps"] * stored[f"{name}.step"], dtype=np.float32)
