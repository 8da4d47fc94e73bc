"""Variants of training texts: spelling, and texts that are put together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from services.guard.classifier.training.texts import LabelledText

__all__ = ["epochs_of"]

_PLAIN_TURKISH: Final = str.maketrans("ışğçöüİŞĞÇÖÜ", "isgcouISGCOU")
CHANGED: Final = 0.4
"""The share of the texts of an epoch whose spelling is changed or that get a neighbour."""
JOINED: Final = 0.12
"""The share of these that stand beside a harmless text of the same language, before or behind it: an attack stays one,
and a long text is not one for its length."""


def epochs_of(texts: Sequence[LabelledText], epochs: int, seed: int) -> Iterator[list[str]]:
    """The texts of each epoch, in the order of `texts`."""
    random = np.random.default_rng(seed)
    neighbours = {
        language: [text.text for text in texts if text.language == language and text.label == "harmless"]
        for language in {text.language for text in texts}
    }
    for _ in range(epochs):
        yield [
            _variant(text.text, neighbours[text.language], random) if random.random() < CHANGED else text.text
            for text in texts
        ]


def _variant(text: str, neighbours: Sequence[str], random: np.random.Generator) -> str:
    text = _respelled(text, random)
    if neighbours and random.random() < JOINED:
        other = neighbours[int(random.integers(len(neighbours)))]
        parts = (text, other) if random.random() < 0.5 else (other, text)
        return ("\n\n", " ", "\n")[int(random.integers(3))].join(parts)
    return text


def _respelled(text: str, random: np.random.Generator) -> str:
    kind = random.random()
    if kind < 0.2:
        return text.lower()
    if kind < 0.4:
        return text.translate(_PLAIN_TURKISH)
    if kind < 0.5:
        return text.rstrip(".!?")
    if kind < 0.55:
        return text.upper()
    if kind < 0.65:
        return _with_typing_errors(text, random)
    return text


def _with_typing_errors(text: str, random: np.random.Generator) -> str:
    letters = list(text)
    for _ in range(max(1, len(letters) // 60)):
        at = int(random.integers(max(1, len(letters) - 1)))
        letters[at : at + 2] = reversed(letters[at : at + 2])
    return "".join(letters)
