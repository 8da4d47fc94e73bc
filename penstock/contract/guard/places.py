"""Where in a request the safety guard found something, and what it left out of the model's context."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

__all__ = ["ContentPlace", "LeftOut"]


class ContentPlace(Struct, frozen=True, kw_only=True):
    """A part of a request."""

    kind: Literal["message", "tool_result", "field", "passage", "turn"]
    """A message of the application, among them the results of tools; another field of the body; a passage that was
    found for the request; an earlier turn of the user."""
    number: int = 0
    """Of a message, as the application sent them, from 1; of a passage, that of its citation; else 0."""
    name: str = ""
    """Of a field, its key; of a passage, its document; of a turn, its conversation."""


class LeftOut(Struct, frozen=True, kw_only=True):
    """A passage, or an earlier turn, that the model was not given because the policy blocks what is in it."""

    kind: Literal["passage", "turn"]
    name: str
    """The document of the passage, or the conversation of the turn."""
    findings: tuple[str, ...]
    """Category and kind of each finding that the policy blocks, as `prompt_injection`."""
