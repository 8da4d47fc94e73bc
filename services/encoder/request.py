"""The body of POST /v1/embeddings, decoded and checked; and the body of its answer."""

from __future__ import annotations

import base64
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from penstock.contract.retrieval.embeddings import MAX_INPUTS
from services.encoder.errors import ApiError, invalid, model_not_found

__all__ = ["DIMENSIONS", "MODEL", "EmbeddingsRequest", "answer", "decode"]

MODEL: Final = "local-multilingual"
DIMENSIONS: Final = 512
_MAX_CHARACTERS: Final = 200_000
"""Of one text, which are 3 s of work. A text of that length has no single subject, and its vector no meaning."""
_BYTES_PER_TOKEN: Final = 4


class EmbeddingsRequest(Struct, frozen=True, kw_only=True):
    """Further fields, such as `user`, are ignored."""

    model: str
    input: str | list[Any]
    dimensions: Annotated[int, Meta(ge=1, le=DIMENSIONS)] | None = None
    encoding_format: Literal["float", "base64"] | None = None

    @property
    def texts(self) -> list[str]:
        return [self.input] if isinstance(self.input, str) else self.input


_DECODER: Final = msgspec.json.Decoder(EmbeddingsRequest)


def decode(body: bytes) -> EmbeddingsRequest:
    """Raises ApiError."""
    try:
        request = _DECODER.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise invalid(f"The body is not a valid request: {error}.") from None
    if request.model != MODEL:
        raise model_not_found(request.model, MODEL)
    if problem := _problem(request.input):
        raise problem
    return request


def _problem(given: str | list[Any]) -> ApiError | None:
    if isinstance(given, list):
        if not given:
            return invalid("'input' is an empty list.", "input")
        if len(given) > MAX_INPUTS:
            return invalid(f"'input' has {len(given)} texts; at most {MAX_INPUTS} are accepted.", "input")
        if not all(isinstance(text, str) for text in given):
            message = "'input' has token ids: the encoder has a tokenizer of its own, send texts."
            return invalid(message, "input")
    texts = [given] if isinstance(given, str) else given
    longest = max(map(len, texts))
    if longest > _MAX_CHARACTERS:
        message = f"A text of 'input' has {longest} characters; at most {_MAX_CHARACTERS} are accepted."
        return invalid(message, "input")
    return None


def answer(request: EmbeddingsRequest, vectors: list[memoryview]) -> bytes:
    """The answer's body. Each vector is float32, little endian."""
    if request.encoding_format == "base64":
        encoded: list[Any] = [base64.b64encode(vector).decode() for vector in vectors]
    else:
        encoded = [vector.cast("f").tolist() for vector in vectors]
    tokens = sum(len(text.encode("utf-8", "replace")) for text in request.texts) // _BYTES_PER_TOKEN
    return msgspec.json.encode(
        {
            "object": "list",
            "data": [
                {"object": "embedding", "index": index, "embedding": embedding}
                for index, embedding in enumerate(encoded)
            ],
            "model": MODEL,
            "usage": {"prompt_tokens": max(tokens, 1), "total_tokens": max(tokens, 1)},
        }
    )
