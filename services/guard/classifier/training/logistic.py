"""Multinomial logistic regression with numpy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["fit_logistic"]


def fit_logistic(
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
