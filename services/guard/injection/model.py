"""The model of prompt injection: a tuned sentence encoder with a head for kinds of texts, and character n-grams."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from services.guard.classifier import __name__ as classifier
from services.guard.classifier.encoder import Encoder, Vectors
from services.guard.classifier.head import log_odds
from services.guard.classifier.ngrams import NgramScore
from services.guard.classifier.spelling import plain
from services.guard.classifier.tuned import TunedEncoder
from services.guard.injection.known_phrases import has_known_phrase

__all__ = ["WIDTH_CHARACTERS", "InjectionModel", "probabilities", "stored_weights"]

WIDTH_CHARACTERS: Final = 800
"""The characters of a text that are read: nearly all training texts are shorter."""
_KNOWN_PHRASE_LOG_ODDS: Final = 2.4
"""What a phrase of a well-known attack adds: with it, a text is a finding from a probability of 0.5 on, which 31 of 33
attacks and 1 of 10 harmless texts with such a phrase in the training texts have. These avoid the usual words; real
attacks use them."""


class InjectionModel:
    def __init__(self, encoder: Encoder, stored: Mapping[str, NDArray[Any]] | None = None) -> None:
        """`stored`: the arrays of the file of weights; None: those of the package."""
        stored = stored_weights() if stored is None else stored
        self._encoder = TunedEncoder(encoder, stored, WIDTH_CHARACTERS)
        self._head: NDArray[np.float32] = stored["head"].astype(np.float32)
        self._constants: NDArray[np.float32] = stored["constants"].astype(np.float32)
        self._attacks = np.array([str(kind).startswith("injection/") for kind in stored["kinds"]])
        self.ngrams = NgramScore(stored["ngrams"] * stored["ngrams.step"], float(stored["ngrams.constant"]))
        self._ngram_share = float(stored["ngram_share"])
        self.threshold = float(stored["threshold"])
        """The probability from which a text is a finding, chosen on training texts."""

    def rate(self, texts: Sequence[str]) -> Vectors:
        """The probability of an attack, one row with one column for each text. For the thread of the encoder."""
        scores = self.scores(texts)
        known = [has_known_phrase(plain(text[:WIDTH_CHARACTERS])) for text in texts]
        scores[:, 0] += _KNOWN_PHRASE_LOG_ODDS * np.array(known, dtype=np.float32)
        return probabilities(scores, self._ngram_share)[:, None]

    def scores(self, texts: Sequence[str]) -> Vectors:
        """By the encoder and by n-grams: one row for each text, both above 0 for one that looks like an attack."""
        texts = [plain(text[:WIDTH_CHARACTERS]) for text in texts]
        encoded = log_odds(self._encoder.encode(texts) @ self._head + self._constants, self._attacks)
        ngrams = [self.ngrams.of(text) for text in texts]
        return np.column_stack([encoded, np.array(ngrams, dtype=np.float32)])


def probabilities(scores: Vectors, ngram_share: float) -> NDArray[np.float32]:
    rates = 1 / (1 + np.exp(-(scores[:, 0] + np.float32(ngram_share) * scores[:, 1])))
    return np.asarray(rates, dtype=np.float32)


def stored_weights() -> dict[str, NDArray[Any]]:
    """The arrays of the package's file."""
    with files(classifier).joinpath("weights", "injection.npz").open("rb") as file:
        return dict(np.load(file, allow_pickle=False))
