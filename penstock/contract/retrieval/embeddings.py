"""The answer to an embed request: vectors in the deltas, counts in `completed`."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

__all__ = ["FLOAT_BYTES", "MAX_INPUTS", "MAX_VALUES", "VECTOR_BLOCK_BYTES", "EmbedResult", "VectorBlock"]

FLOAT_BYTES: Final = 4
"""Bytes of one number of a vector: IEEE 754, little endian. Client and services read and write numbers as they are in
memory: all machines are assumed to be little endian."""
MAX_INPUTS: Final = 2_048
"""Texts of one request, as at OpenAI."""
MAX_VALUES: Final = 500_000
"""Tokens of the token arrays of a request, with all other values: OpenAI takes 300,000. They are read in 40 ms."""
VECTOR_BLOCK_BYTES: Final = 4 * 1024 * 1024
"""The most bytes of vectors in one delta, before their encoding as base64."""


class VectorBlock(Struct, frozen=True, kw_only=True):
    """The vectors of some texts of a request, in their order: an element of `choices` of a delta."""

    first: int
    """Index of the text of the first vector."""
    vectors: bytes
    """Numbers of 32 bits (IEEE 754, little endian), vector after vector; in JSON as base64."""


class EmbedResult(Struct, frozen=True, kw_only=True):
    """The `response` of `completed` for an embed request."""

    texts: int
    dimensions: int
    space: str
    """The vector space: only vectors of one space and one number of dimensions can be compared."""
    tokens: int
    """Input tokens of the texts that a provider embedded for this request."""
    embedded: int
    """Texts that a provider embedded for this request."""
    from_cache: int
    """Texts whose vectors were stored."""
    joined: int
    """Texts that another request was having embedded at the time, or that came before in this request."""
