"""The body of an embed request, read and checked: OpenAI's embeddings body."""

from __future__ import annotations

from typing import Annotated, Final, cast

import msgspec
from msgspec import Meta, Struct

from penstock.contract.retrieval.embeddings import MAX_INPUTS
from penstock.runtime.retrieval.embedding_key import EmbeddingText

__all__ = ["EmbedBody", "InvalidEmbedBody", "read_embed_body"]

_LARGEST_TOKEN: Final = 2**31
_Token = Annotated[int, Meta(ge=0, lt=_LARGEST_TOKEN)]
_MAX_DIMENSIONS: Final = 65_536


class InvalidEmbedBody(ValueError):
    """The body cannot be answered with vectors; the message says why."""


class EmbedBody(Struct, frozen=True):
    """What is to be embedded."""

    texts: tuple[EmbeddingText, ...]
    """At least one, none of them empty."""
    dimensions: int | None
    """None: those of the model."""


class _Body(Struct):
    input: str | list[str | _Token | list[_Token]]
    dimensions: Annotated[int, Meta(ge=1, le=_MAX_DIMENSIONS)] | None = None


_decode: Final = msgspec.json.Decoder(_Body).decode


def read_embed_body(body: bytes | msgspec.Raw) -> EmbedBody:
    """Raises InvalidEmbedBody."""
    try:
        read = _decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidEmbedBody(f"the body of an embed request is invalid: {error}") from error
    texts = _texts(read.input)
    if not texts:
        raise InvalidEmbedBody("input is empty: send a text, texts, or arrays of tokens")
    if len(texts) > MAX_INPUTS:
        raise InvalidEmbedBody(f"input has {len(texts):,} texts; {MAX_INPUTS:,} are the most")
    if not all(texts):
        index = next(at for at, text in enumerate(texts) if not text)
        raise InvalidEmbedBody(f"input[{index}] is empty: a vector needs a text")
    return EmbedBody(texts, read.dimensions)


def _texts(given: str | list[str | int | list[int]]) -> tuple[EmbeddingText, ...]:
    if isinstance(given, str):
        return (given,)
    kinds = set(map(type, given))
    if len(kinds) > 1:
        raise InvalidEmbedBody("input mixes texts, tokens and arrays of tokens: send one kind")
    if kinds == {int}:
        return ([each for each in given if isinstance(each, int)],)
    return tuple(cast("list[EmbeddingText]", given))
