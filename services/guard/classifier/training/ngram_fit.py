"""Logistic regression over the sets of n-grams of texts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from services.guard.classifier.ngrams import BITS, NgramScore, ngrams_of
from services.guard.classifier.spelling import plain

__all__ = ["fit_ngrams"]


def fit_ngrams(
    texts: Sequence[str], positive: NDArray[np.bool_], l2: float = 0.1, steps: int = 400
) -> NgramScore:
    """By Nesterov's accelerated gradient, from zero, so that nothing is random."""
    sets = [np.unique(ngrams_of(plain(text))) for text in texts]
    columns = np.concatenate(sets)
    rows = np.repeat(np.arange(len(sets)), [len(each) for each in sets])
    values = np.repeat([1 / np.sqrt(max(1, len(each))) for each in sets], [len(each) for each in sets])
    wanted = positive.astype(np.float64)
    rate = 1 / (0.25 * _largest_eigenvalue(columns, rows, values, len(sets)) + l2)
    weights = ahead = np.zeros((1 << BITS) + 1)
    for step in range(steps):
        scores = np.bincount(rows, values * ahead[columns], len(sets)) + ahead[-1]
        errors = 1 / (1 + np.exp(-scores)) - wanted
        gradient = np.append(np.bincount(columns, values * errors[rows], 1 << BITS), errors.sum() / 16)
        following = ahead - rate * (gradient + l2 * np.append(ahead[:-1], 0))
        ahead = following + (step / (step + 3)) * (following - weights)
        weights = following
    return NgramScore(weights[:-1].astype(np.float32), float(weights[-1]))


def _largest_eigenvalue(
    columns: NDArray[np.int64], rows: NDArray[np.int64], values: NDArray[np.float64], count: int
) -> float:
    """By power iteration; 10% above it, because it converges from below."""
    vector = np.ones(count) / np.sqrt(count)
    size = 1.0
    for _ in range(20):
        back = np.bincount(columns, values * vector[rows], 1 << BITS)
        vector = np.bincount(rows, values * back[columns], count)
        size = float(np.linalg.norm(vector))
        vector = vector / size
    return 1.1 * size
