"""Embeddings by feature hashing: texts that share words or parts of words have similar vectors."""

from __future__ import annotations

import base64
import math
import re
from array import array
from functools import lru_cache
from typing import Final
from zlib import crc32

__all__ = [
    "FLOATS",
    "NO_BASE64",
    "NO_DIMENSIONS",
    "POISON",
    "default_dimensions",
    "embed",
    "encode_base64",
    "input_limit",
]

POISON: Final = "[[poison]]"
"""A call with a text that contains it is refused."""
FLOATS: Final = "-floats"
"""A model with this in its name answers with numbers although base64 was requested, as some servers do."""
NO_BASE64: Final = "-nobase64"
"""A model with this in its name refuses the request for base64."""
NO_DIMENSIONS: Final = "-nodimensions"
"""A model with this in its name refuses `dimensions`."""
_INPUT_LIMIT: Final = re.compile(r"-max(\d+)")
"""`-max32` in the name of a model: it takes at most 32 texts at once."""

_WORD: Final = re.compile(r"\w+")
_WORD_WEIGHT: Final = 1.0
_NGRAM_WEIGHT: Final = 0.35
_NGRAM: Final = 3
_KNOWN: Final = {
    "text-embedding-3-large": 3072,
    "text-embedding-3-small": 1536,
    "text-embedding-ada-002": 1536,
}
_DEFAULT: Final = 256


def default_dimensions(base: str) -> int:
    """The dimensions of OpenAI's models by name; 256 for any other name."""
    return _KNOWN.get(base, _DEFAULT)


def input_limit(base: str) -> int | None:
    found = _INPUT_LIMIT.search(base)
    return None if found is None else int(found[1])


def embed(text: str, dimensions: int) -> list[float]:
    """A deterministic vector of length 1; a text without words gives the first axis."""
    vector = [0.0] * dimensions
    for word in _WORD.findall(text.lower()):
        for feature, weight in _features(word):
            # The lowest bit decides the sign, so that collisions cancel out on average.
            vector[(feature >> 1) % dimensions] += weight if feature & 1 else -weight
    length = math.sqrt(sum(value * value for value in vector))
    if length == 0:
        return [1.0] + [0.0] * (dimensions - 1)
    return [value / length for value in vector]


@lru_cache(maxsize=65536)
def _features(word: str) -> tuple[tuple[int, float], ...]:
    framed = f"<{word}>"
    grams = {framed[at : at + _NGRAM] for at in range(len(framed) - _NGRAM + 1)} - {framed}
    hashed = [(crc32(gram.encode()), _NGRAM_WEIGHT) for gram in sorted(grams)]
    return ((crc32(framed.encode()), _WORD_WEIGHT), *hashed)


def encode_base64(vector: list[float]) -> str:
    """Little-endian 32-bit floats in base64, the OpenAI SDK's default encoding."""
    return base64.b64encode(array("f", vector).tobytes()).decode()
