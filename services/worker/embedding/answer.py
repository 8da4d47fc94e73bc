"""A provider's answer to an embeddings call: one vector for each text, in the order of the texts, or an error (D6)."""

from __future__ import annotations

from array import array
from typing import Final

import msgspec
from msgspec import Raw, Struct

from penstock.contract.retrieval.embeddings import FLOAT_BYTES
from services.worker.providers.errors.failures import ProviderFailure
from services.worker.providers.errors.read_error import error_in
from services.worker.providers.errors.wire_errors import MalformedReply, ProviderErrorEvent
from services.worker.providers.raw_json import decode_any
from services.worker.providers.usage import NO_COUNTS, TokenCounts, read_usage

__all__ = ["Vectors", "read_vectors"]

_LARGEST_EXPONENTS: Final = (0x7F, 0xFF)
"""The most significant byte of a 32-bit number from 2^127 on, of either sign: infinite ones and NaN are among them."""
_EXPONENT: Final = 0x7F800000


class Vectors(Struct, frozen=True):
    """The vectors of one call."""

    vectors: list[bytes]
    """Numbers of 32 bits, little endian; in the order of the texts."""
    counted: TokenCounts
    model: str | None
    as_floats: bool
    """The numbers came as text instead of base64."""


class _Item(Struct, gc=False):
    embedding: bytes | list[float]
    index: int | None = None


class _Answer(Struct):
    data: list[_Item]
    model: str | None = None
    usage: Raw = Raw(b"null")


_decode: Final = msgspec.json.Decoder(_Answer).decode


def read_vectors(body: bytes, count: int, dimensions: int) -> Vectors:
    """The vectors of `count` texts. Raises MalformedReply, ProviderErrorEvent for an error inside a 200, and
    ProviderFailure where some of the vectors are zero.
    """
    try:
        answer = _decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        _raise_reported_error(body)
        raise MalformedReply(f"the answer has no vectors: {error}") from error
    if len(answer.data) != count:
        raise MalformedReply(f"the answer has {len(answer.data):,} vectors for {count:,} texts")
    found = [each.embedding for each in _in_order(answer.data)]
    vectors = [each if isinstance(each, bytes) else array("f", each).tobytes() for each in found]
    _check(vectors, dimensions)
    as_floats = any(not isinstance(each, bytes) for each in found)
    return Vectors(vectors, _counts(answer.usage), answer.model, as_floats)


def _in_order(items: list[_Item]) -> list[_Item]:
    """Sorted by index where all have one; a provider that numbers none answers in order."""
    indexes = [each.index for each in items]
    if indexes == list(range(len(items))) or all(index is None for index in indexes):
        return items
    places: dict[int, _Item] = {each.index: each for each in items if each.index is not None}
    try:
        ordered = [places[index] for index in range(len(items))]
    except KeyError as error:
        raise MalformedReply(f"the answer has no vector with the index {error}") from error
    return ordered


def _check(vectors: list[bytes], dimensions: int) -> None:
    size = dimensions * FLOAT_BYTES
    for index, vector in enumerate(vectors):
        if len(vector) != size:
            length = len(vector) / FLOAT_BYTES
            raise MalformedReply(f"vector {index} has {length:g} numbers instead of {dimensions}")
    zero = bytes(size)
    zeros = vectors.count(zero)
    if zeros == len(vectors):
        raise MalformedReply("every vector is zero, which has no direction")
    if zeros:  # perhaps because of these texts: they are to fail no others
        raise ProviderFailure("unclear", f"vector {vectors.index(zero)} is zero, which has no direction")
    high = b"".join(vectors)[FLOAT_BYTES - 1 :: FLOAT_BYTES]
    if not any(each in high for each in _LARGEST_EXPONENTS):
        return  # all numbers are below 2^127
    for index, vector in enumerate(vectors):
        if not _is_finite(vector):
            raise MalformedReply(f"vector {index} has a number that is not finite")


def _is_finite(vector: bytes) -> bool:
    return all(word & _EXPONENT != _EXPONENT for word in array("I", vector))


def _counts(usage: Raw) -> TokenCounts:
    try:
        return read_usage(usage) or NO_COUNTS
    except (ValueError, RecursionError):
        return NO_COUNTS


def _raise_reported_error(body: bytes) -> None:
    """Raises ProviderErrorEvent where the body is an error that was sent with a status of success."""
    try:
        error = error_in(decode_any(body))
    except (ValueError, RecursionError):
        return
    if error is not None:
        raise ProviderErrorEvent(error)
