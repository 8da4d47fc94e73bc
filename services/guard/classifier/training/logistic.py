"""Multinomial logistic regression with numpy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from services.guard.classifier.ngrams import BITS, ngrams_of
from services.guard.classifier.spelling import plain

__all__ = ["fit_with_ngrams"]

_SMALLEST: float = 1e-4
"""Of the variances that count; below are rounding errors."""


def _fitted(
    rows: NDArray[np.float32], labels: NDArray[np.int64], l2: float, steps: int = 300
) -> NDArray[np.float32]:
    """The weights of a head, the constants in the last row.

    Each step solves with the bound of the Hessian by Böhning (1992), which is the same in all steps, so that every step
    lowers the loss and nothing is random.
    """
    inputs = np.hstack([rows.astype(np.float64), np.ones((len(rows), 1))])
    solve = np.linalg.inv(0.5 * inputs.T @ inputs + l2 * np.eye(inputs.shape[1]))
    wanted = np.eye(int(labels.max()) + 1)[labels]
    weights = np.zeros((inputs.shape[1], wanted.shape[1]))
    for _ in range(steps):
        scores = inputs @ weights
        found = np.exp(scores - scores.max(axis=1, keepdims=True))
        found /= found.sum(axis=1, keepdims=True)
        weights += solve @ (inputs.T @ (wanted - found) - l2 * weights)
    return weights.astype(np.float32)


def fit_with_ngrams(
    rows: NDArray[np.float32], texts: Sequence[str], labels: NDArray[np.int64], l2: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The weights of a head over the rows and the n-grams of the same texts, the latter as rows of length 1.

    There are far fewer texts than n-grams, so that it is solved in the space of the texts.
    """
    sets = [np.unique(ngrams_of(plain(text))) for text in texts]
    used = np.unique(np.concatenate(sets))
    ngrams = np.zeros((len(sets), len(used)), dtype=np.float32)
    for row, each in enumerate(sets):
        ngrams[row, np.searchsorted(used, each)] = 1 / np.sqrt(len(each))
    similarity = rows.astype(np.float64) @ rows.T + ngrams @ ngrams.T
    variances, axes = np.linalg.eigh(similarity)
    axes, variances = axes[:, variances > _SMALLEST], variances[variances > _SMALLEST]
    fitted = _fitted((axes * np.sqrt(variances)).astype(np.float32), labels, l2)
    of_texts = (axes / np.sqrt(variances) @ fitted[:-1]).astype(np.float32)
    by_ngram = np.zeros((1 << BITS, fitted.shape[1]), dtype=np.float32)
    by_ngram[used] = ngrams.T @ of_texts
    return np.vstack([rows.T @ of_texts, fitted[-1:]]), by_ngram
