"""The query of a route that the edge defines."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Final

from services.edge.http.errors import HttpError
from services.edge.http.exchange import Exchange
from services.edge.http.operation import Parameter

__all__ = ["asks_for_stream", "known_query"]

_SENT_BY_CLIENTS: Final = frozenset({"api-version", "beta", "include", "include_obfuscation"})
"""OpenAI's SDKs send `include` (as `include[]`) and `include_obfuscation` with `responses.retrieve`, those for Azure
`api-version`, and Anthropic's `beta`. They change nothing here."""
_QUOTED: Final = 80


def known_query(exchange: Exchange, parameters: Sequence[Parameter]) -> dict[str, str]:
    """The query, of which `parameters` has the names. Raises HttpError (400) for another one: ignoring a misspelled one
    would be worse.
    """
    query = exchange.query()
    names = [each.name for each in parameters if each.location == "query"]
    for name in query:
        if name in names or name.partition("[")[0] in _SENT_BY_CLIENTS:
            continue
        shown = name[:_QUOTED]
        near = get_close_matches(shown, names, n=1)
        fix = f"did you mean {near[0]}?" if near else f"use {', '.join(names)}"
        raise HttpError.of("invalid_request", f"there is no query parameter {shown}: {fix}", param=shown)
    return query


def asks_for_stream(exchange: Exchange) -> bool | None:
    """The query parameter `stream`; None: there is none. Raises HttpError (400)."""
    text = exchange.query().get("stream")
    if text not in {"true", "false", None}:
        raise HttpError.of("invalid_request", f"stream is {text!r}: use true or false", param="stream")
    return None if text is None else text == "true"
