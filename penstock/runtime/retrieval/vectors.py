"""Whether a vector has a direction, so that cosines with it can be computed."""

from __future__ import annotations

import math
from typing import Final

__all__ = ["has_direction", "vector_length"]

_SHORTEST: Final = 1e-18
_LONGEST: Final = 1e18
"""Stores compute the square of a length in 32 bits: 2^-126 to 2^128."""
_NOT_LARGE: Final = bytes(byte for byte in range(256) if byte & 0x7F <= 88)
"""Highest bytes, with sign and seven bits of the exponent, of numbers below 2^51: 65,536 of them have no length above
2^59."""
_TINY: Final = bytes(byte for byte in range(256) if byte & 0x7F < 35)
"""Highest bytes of numbers below 2^-57."""


def vector_length(vector: bytes) -> float:
    """Of 32-bit numbers; not finite where one of them is not."""
    return math.hypot(*memoryview(vector).cast("f"))


def has_direction(vector: bytes) -> bool:
    """False for zeros of either sign, for numbers that are not finite, and for a length whose square has no normal
    32-bit number.
    """
    # Nearly always the highest bytes say so: a fifth of the time that the length takes.
    highest = vector[3::4]
    is_plain = not highest.translate(None, _NOT_LARGE) and highest.translate(None, _TINY)
    return bool(is_plain) or _SHORTEST <= vector_length(vector) <= _LONGEST
