"""A request of OpenAI's moderation endpoint: the texts of each of its inputs."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from penstock.contract.guard.checks import MAX_CHECK_BYTES, MAX_CHECK_TEXTS
from services.edge.dialects.dialect import InvalidField
from services.edge.dialects.request_json import check, decode

__all__ = ["ModerationRequest", "read_inputs"]

_MOST_INPUTS: Final = 128
_MOST_CHARACTERS: Final = 200_000
"""Characters of one input. A guard reads more than that with none of its safety models."""
_TEXT: Final = "text"


class _Part(Struct, frozen=True):
    type: Annotated[str, Meta(description="`text`; images are refused.")]
    text: str | None = None


class ModerationRequest(Struct, frozen=True):
    """Unknown fields are ignored."""

    input: Annotated[
        str | list[str | _Part],
        Meta(
            description=f"A text, up to {_MOST_INPUTS} texts with a result each, or the parts of one input with one "
            f"result. At most {_MOST_CHARACTERS:,} characters for each input, and 1 MiB together."
        ),
    ]
    model: Annotated[str | None, Meta(description="Ignored: the catalogue names the detectors.")] = None


_decoder: Final = msgspec.json.Decoder(ModerationRequest)


def read_inputs(body: bytes) -> list[tuple[str, ...]]:
    """The texts of each input: one for a string, one for each part of an input with parts. Raises InvalidField."""
    check(body)
    given = decode(_decoder, body).input
    inputs: list[tuple[str, ...]] = [(given,)] if isinstance(given, str) else _listed(given)
    size = 0
    for number, texts in enumerate(inputs):
        if sum(map(len, texts)) > _MOST_CHARACTERS:
            field = f"input[{number}]" if len(inputs) > 1 else "input"
            raise InvalidField(
                field, f"{field} has more than {_MOST_CHARACTERS:,} characters, which is the limit"
            )
        size += sum(len(text.encode()) for text in texts)
    if size > MAX_CHECK_BYTES:
        raise InvalidField("input", "the inputs have more than 1 MiB of text together: send several requests")
    return inputs


def _listed(given: list[str | _Part]) -> list[tuple[str, ...]]:
    if not given:
        raise InvalidField("input", "input is empty: write at least one text")
    texts = [each for each in given if isinstance(each, str)]
    parts = [each for each in given if not isinstance(each, str)]
    if texts and parts:
        raise InvalidField(
            "input", "input has both texts and parts: write a list of texts, or the parts of one input"
        )
    if len(parts) > MAX_CHECK_TEXTS:
        raise InvalidField("input", f"input has more than {MAX_CHECK_TEXTS:,} parts: send several requests")
    if parts:
        return [tuple(_text_of(part, number) for number, part in enumerate(parts))]
    if len(texts) > _MOST_INPUTS:
        raise InvalidField("input", f"input has more than {_MOST_INPUTS} texts: send several requests")
    return [(text,) for text in texts]


def _text_of(part: _Part, number: int) -> str:
    field = f"input[{number}]"
    if part.type == "image_url":
        raise InvalidField(
            field, f"{field} is an image, and images are not moderated here: send the text parts only"
        )
    if part.type != _TEXT:
        raise InvalidField(f"{field}.type", f"{field}.type must be text, not {part.type[:80]!r}")
    if part.text is None:
        raise InvalidField(f"{field}.text", f"{field}.text is missing")
    return part.text
