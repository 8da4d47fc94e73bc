"""A provider's answer to an embeddings call: one vector for each text, in the order of the texts, or an error (D6)."""

from __future__ import annotations

import math
from array import array
from typing import Final

import msgspec
from msgspec import Raw, Struct

from penstock.contract.retrieval.embeddings import FLOAT_BYTES
from penstock.runtime.retrieval.vectors import has_direction, vector_length
from services.worker.providers.errors.failures import ProviderFailure
from services.worker.providers.errors.read_error import error_in
from services.worker.providers.errors.wire_errors import MalformedReply, ProviderErrorEvent
from services.worker.providers.raw_json import decode_any
from services.worker.providers.streams.choices import error_of
from services.worker.providers.usage import NO_COUNTS, TokenCounts, read_usage

__all__ = ["Vectors", "check_directions", "read_vectors"]


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
    error: Raw = Raw(b"null")


_decode: Final = msgspec.json.Decoder(_Answer).decode


def read_vectors(body: bytes, count: int, dimensions: int) -> Vectors:
    """The vectors of `count` texts. Raises MalformedReply, ProviderErrorEvent for an error inside a 200, and
    ProviderFailure where some of the vectors have no direction.
    """
    try:
        answer = _decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        _raise_reported_error(body)
        raise MalformedReply(f"the answer has no vectors: {error}") from error
    _raise_error_beside(answer.error)
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
    check_directions(vectors)


def check_directions(vectors: list[bytes]) -> None:
    """Raises MalformedReply where none of several vectors has a direction or a number is not finite, and
    ProviderFailure where some have none, or the only one: a text, and not the model, may be why.
    """
    without = [index for index, vector in enumerate(vectors) if not has_direction(vector)]
    if not without:
        return
    lengths = [vector_length(vectors[index]) for index in without]
    for index, length in zip(without, lengths, strict=True):
        if not math.isfinite(length):
            raise MalformedReply(f"vector {index} has a number that is not finite")
    if 1 < len(without) == len(vectors):
        raise MalformedReply(f"every vector is {_flaw(lengths[0])}")
    # perhaps because of these texts: they are to fail no others
    raise ProviderFailure("unclear", f"vector {without[0]} is {_flaw(lengths[0])}")


def _flaw(length: float) -> str:
    return (
        f"of the length {length:.3g}, which is unusable in 32 bits"
        if length
        else "zero, which has no direction"
    )


def _counts(usage: Raw) -> TokenCounts:
    try:
        return read_usage(usage) or NO_COUNTS
    except (ValueError, RecursionError):
        return NO_COUNTS


def _raise_error_beside(value: Raw) -> None:
    """Raises ProviderErrorEvent for an error beside vectors, as for one beside a completion."""
    try:
        error = error_of(value)
    except (ValueError, RecursionError) as unreadable:
        raise MalformedReply(f"the error in the answer cannot be read: {unreadable}") from unreadable
    if error is not None:
        raise ProviderErrorEvent(error)


def _raise_reported_error(body: bytes) -> None:
    """Raises ProviderErrorEvent where the body is an error that was sent with a status of success."""
    try:
        error = error_in(decode_any(body))
    except (ValueError, RecursionError):
        return
    if error is not None:
        raise ProviderErrorEvent(error)
