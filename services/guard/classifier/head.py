"""A linear head over sentence vectors and n-grams, and the file of its weights."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from penstock.contract.guard.checks import MAX_CLASSIFIED_CHARACTERS
from services.guard.classifier.encoder import Vectors
from services.guard.classifier.ngrams import weighed
from services.guard.classifier.spelling import plain

__all__ = ["Head", "load_head", "log_odds"]


class Head(Struct, frozen=True):
    """Multinomial logistic regression."""

    labels: tuple[str, ...]
    weights: NDArray[np.float32]
    """One row a dimension and a last one of constants; one column a label."""
    ngrams: NDArray[np.float32]
    """One row an n-gram, one column a label."""

    def probabilities(self, vectors: Vectors, texts: Sequence[str]) -> Vectors:
        """Of texts with their vectors: one row a text, one column a label."""
        ngrams = np.array([weighed(plain(text[:MAX_CLASSIFIED_CHARACTERS]), self.ngrams) for text in texts])
        scores = vectors @ self.weights[:-1] + self.weights[-1] + ngrams
        exponentials = np.exp(scores - scores.max(axis=1, keepdims=True))
        found: Vectors = exponentials / exponentials.sum(axis=1, keepdims=True)
        return found


def load_head(name: str) -> Head:
    """The head of this package with that name."""
    with files(__package__).joinpath("weights", f"{name}.npz").open("rb") as file:
        stored = np.load(file, allow_pickle=False)
        ngrams = stored["ngrams"] * stored["ngrams.step"]
        return Head(tuple(map(str, stored["labels"])), stored["weights"], ngrams)


def log_odds(scores: NDArray[np.float32], among: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Of some labels together against all others, one for each row of scores."""
    return _log_sum(scores[:, among]) - _log_sum(scores[:, ~among])


def _log_sum(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    highest = scores.max(axis=1, keepdims=True)
    found: NDArray[np.float32] = highest[:, 0] + np.log(np.exp(scores - highest).sum(axis=1))
    return found
