"""A linear head over sentence vectors, and the file of its weights."""

from __future__ import annotations

from importlib.resources import files

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from services.guard.classifier.encoder import Vectors

__all__ = ["Head", "load_head", "log_odds"]


class Head(Struct, frozen=True):
    """Multinomial logistic regression."""

    labels: tuple[str, ...]
    weights: NDArray[np.float32]
    """One row a dimension and a last one of constants; one column a label."""

    def probabilities(self, vectors: Vectors) -> Vectors:
        """One row a vector, one column a label."""
        scores = vectors @ self.weights[:-1] + self.weights[-1]
        exponentials = np.exp(scores - scores.max(axis=1, keepdims=True))
        found: Vectors = exponentials / exponentials.sum(axis=1, keepdims=True)
        return found


def load_head(name: str) -> Head:
    """The head of this package with that name."""
    with files(__package__).joinpath("weights", f"{name}.npz").open("rb") as file:
        stored = np.load(file, allow_pickle=False)
        return Head(tuple(map(str, stored["labels"])), stored["weights"].astype(np.float32))


def log_odds(scores: NDArray[np.float32], among: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Of some labels together against all others, one for each row of scores."""
    return _log_sum(scores[:, among]) - _log_sum(scores[:, ~among])


def _log_sum(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    highest = scores.max(axis=1, keepdims=True)
    found: NDArray[np.float32] = highest[:, 0] + np.log(np.exp(scores - highest).sum(axis=1))
    return found
