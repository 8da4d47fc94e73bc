"""Variants of training texts: spelling, and texts that are put together."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from msgspec import Struct

from services.guard.classifier.training.texts import LabelledText

__all__ = ["Surroundings", "composed", "epochs_of", "surroundings_of"]

_PLAIN_TURKISH: Final = str.maketrans("ışğçöüİŞĞÇÖÜ", "isgcouISGCOU")
RESPELLED: Final = 0.3
"""The share of the texts of an epoch whose spelling is changed."""
COMPOSED: Final = 0.2
"""The share that gets harmless sentences of the same language around it, or stands in a harmless document: an attack
stays one, and a long text is not one for its length."""
IN_DOCUMENT: Final = 0.35
"""The share of these that stand in a document, if they are short."""
MOST_COMPOSED: Final = 450
"""The characters of a text that is put among others."""
MOST_SENTENCES: Final = 4
_ORDINARY: Final = frozenset({"task", "document", "words", "format"})
"""The kinds whose sentences are harmless by themselves. Texts about attacks quote them."""
_SENTENCES: Final = re.compile(r"(?<=[.!?…])\s+|\n+")
_SHORTEST_DOCUMENT: Final = 4
"""Sentences."""


class Surroundings(Struct, frozen=True):
    """What texts of one language are put among."""

    sentences: tuple[str, ...]
    documents: tuple[tuple[str, ...], ...]
    """The sentences of each."""


def epochs_of(texts: Sequence[LabelledText], epochs: int, seed: int) -> Iterator[list[str]]:
    """The texts of each epoch, in the order of `texts`."""
    random = np.random.default_rng(seed)
    around = surroundings_of(texts)
    for _ in range(epochs):
        yield [_variant(text.text, around[text.language], random) for text in texts]


def surroundings_of(texts: Sequence[LabelledText]) -> dict[str, Surroundings]:
    """By language, from the harmless texts."""
    found = {}
    for language in sorted({text.language for text in texts}):
        parts = [
            tuple(filter(None, _SENTENCES.split(text.text)))
            for text in texts
            if text.language == language and text.label == "harmless" and text.kind in _ORDINARY
        ]
        found[language] = Surroundings(
            tuple(sentence for each in parts for sentence in each if len(sentence) < MOST_COMPOSED),
            tuple(each for each in parts if len(each) >= _SHORTEST_DOCUMENT),
        )
    return found


def _variant(text: str, around: Surroundings, random: np.random.Generator) -> str:
    if random.random() < RESPELLED:
        text = _respelled(text, random)
    if random.random() < COMPOSED and len(text) <= MOST_COMPOSED and around.sentences:
        return composed(text, around, random)
    return text


def composed(text: str, around: Surroundings, random: np.random.Generator) -> str:
    """`text` at any place among sentences that have nothing to do with it, or of a document."""
    if around.documents and random.random() < IN_DOCUMENT:
        others = list(around.documents[int(random.integers(len(around.documents)))])
        begin = int(random.integers(max(1, len(others) - 2)))
        others = others[begin : begin + 2 * MOST_SENTENCES]
    else:
        count = 1 + int(random.integers(MOST_SENTENCES))
        others = [around.sentences[int(i)] for i in random.integers(len(around.sentences), size=count)]
    others.insert(int(random.integers(len(others) + 1)), text)
    return (" ", " ", "\n", "\n\n")[int(random.integers(4))].join(others)


def _respelled(text: str, random: np.random.Generator) -> str:
    kind = random.random()
    if kind < 0.3:
        return text.lower()
    if kind < 0.6:
        return text.translate(_PLAIN_TURKISH)
    if kind < 0.75:
        return text.rstrip(".!?")
    if kind < 0.8:
        return text.upper()
    return _with_typing_errors(text, random)


def _with_typing_errors(text: str, random: np.random.Generator) -> str:
    letters = list(text)
    for _ in range(max(1, len(letters) // 60)):
        at = int(random.integers(max(1, len(letters) - 1)))
        letters[at : at + 2] = reversed(letters[at : at + 2])
    return "".join(letters)
