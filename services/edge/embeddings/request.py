"""A request of OpenAI's embeddings endpoint."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Raw, Struct

from penstock.contract.retrieval.embeddings import MAX_INPUTS, MAX_VALUES
from penstock.runtime.json_values import has_more_values
from services.edge.dialects.dialect import InvalidField
from services.edge.dialects.misplaced_options import refuse_misplaced
from services.edge.dialects.request_json import decode

__all__ = ["EmbeddingsCall", "EmbeddingsRequest", "EncodingFormat", "read_embeddings"]

EncodingFormat = Literal["float", "base64"]
_Token = Annotated[int, Meta(ge=0, lt=2**31)]


class EmbeddingsRequest(Struct, frozen=True):
    """Unknown fields are ignored."""

    input: Annotated[
        str | list[str | _Token | list[_Token]],
        Meta(
            description=f"A text, up to {MAX_INPUTS:,} texts, or one or several texts as arrays of tokens. None is "
            f"empty; {MAX_VALUES:,} tokens at most."
        ),
    ]
    model: Annotated[
        str,
        Meta(
            description="An embedding role or model of `GET /v1/models`, or `auto` for the role `embed`.",
            examples=["embed"],
        ),
    ]
    encoding_format: Annotated[
        EncodingFormat | None,
        Meta(description="`base64`: numbers of 32 bits, little endian. Default: `float`."),
    ] = None
    dimensions: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="Fewer dimensions than the model has, where it can shorten its vectors."),
    ] = None
    user: Annotated[str | None, Meta(description="Your end user.")] = None


class EmbeddingsCall(Struct, frozen=True, kw_only=True):
    """A request that was checked."""

    body: Raw
    """As received."""
    model: str
    encoding: EncodingFormat
    user: str


_decoder: Final = msgspec.json.Decoder(EmbeddingsRequest)
_names: Final = msgspec.json.Decoder(dict[str, Raw])


def read_embeddings(body: bytes) -> EmbeddingsCall:
    """Raises InvalidField."""
    if has_more_values(body, MAX_VALUES):
        raise InvalidField("body", f"the body has more than {MAX_VALUES:,} values, which is the limit")
    read = decode(_decoder, body)
    fields = decode(_names, body)
    refuse_misplaced(fields)
    _check_input(read.input)
    return EmbeddingsCall(
        body=Raw(body), model=read.model, encoding=read.encoding_format or "float", user=read.user or ""
    )


def _check_input(given: str | list[Any]) -> None:
    if not given:
        raise InvalidField("input", "input is empty: write at least one text")
    if isinstance(given, str):
        return
    first = type(given[0])
    for index, each in enumerate(given):
        if type(each) is not first:
            message = f"input[{index}] must be {_KINDS[first]}, as input[0]"
            raise InvalidField(f"input[{index}]", message)
        if each in ("", []):
            raise InvalidField(f"input[{index}]", f"input[{index}] is empty: there is nothing to embed")
    if first is not int and len(given) > MAX_INPUTS:
        raise InvalidField("input", f"input has {len(given):,} elements: send at most {MAX_INPUTS:,}")


_KINDS: Final = {str: "text", int: "a token", list: "a list of tokens"}
