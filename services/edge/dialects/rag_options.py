"""The options of retrieval in a request: `x-penstock-rag`, or the field `rag` of its body."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Raw

from penstock.contract.retrieval.search import Rag

__all__ = ["rag_of_json", "rag_of_text"]

_decode_fields: Final = msgspec.json.Decoder(dict[str, Any]).decode


def rag_of_text(text: str) -> Rag:
    """The value of the header: the name of a collection, or all options as JSON. Raises ValueError."""
    if text.startswith("{"):
        return rag_of_json(text.encode())
    if not text:
        raise ValueError("it is empty: write the name of a collection, or options as JSON")
    return Rag(collection=text)


def rag_of_json(data: bytes | Raw) -> Rag:
    """Raises ValueError, also for an option that does not exist: without it a misspelled one would be ignored."""
    try:
        given = _decode_fields(data)
        unknown = next((name for name in given if name not in Rag.__struct_fields__), None)
        if unknown is not None:
            raise ValueError(f"there is no option {unknown!r}: use {', '.join(Rag.__struct_fields__)}")
        return msgspec.convert(given, Rag)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
