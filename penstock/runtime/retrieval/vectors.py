"""Whether a vector has a direction, so that cosines with it can be computed."""

from __future__ import annotations

import math
from typing import Final

__all__ = ["has_direction", "vector_length"]

_SHORTEST: Final = 1e-18
_LONGEST: Final = 1e18
"""Stores compute the square of a length in 32 bits: 2^-126 to 2^128."""


def vector_length(vector: bytes) -> float:
    """Of 32-bit numbers; not finite where one of them is not."""
    return math.hypot(*memoryview(vector).cast("f"))


def has_direction(vector: bytes) -> bool:
    """False for zeros of either sign, for numbers that are not finite, and for a length whose square has no normal
    32-bit number.
    """
    return _SHORTEST <= vector_length(vector) <= _LONGEST
