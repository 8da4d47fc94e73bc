"""The cosine of two stored vectors."""

from __future__ import annotations

import math
from collections.abc import Callable

__all__ = ["cosine_with"]


def cosine_with(question: bytes | None) -> Callable[[bytes], float]:
    """A function of the other vector, 0 where the question has none. From lengths and distance: both are computed in C,
    without numpy.
    """
    if question is None:
        return lambda _: 0.0
    asked = memoryview(question).cast("f").tolist()
    asked_length = math.hypot(*asked)

    def cosine(vector: bytes) -> float:
        found = memoryview(vector).cast("f").tolist()
        length = math.hypot(*found)
        product = asked_length * length
        return (asked_length**2 + length**2 - math.dist(asked, found) ** 2) / (2 * product)

    return cosine
