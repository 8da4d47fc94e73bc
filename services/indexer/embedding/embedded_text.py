"""The text of a chunk as the embedding model sees it, and the id of a chunk, which follows from it."""

from __future__ import annotations

import hashlib
from typing import Final

__all__ = ["TEXT_VERSION", "chunk_key", "embedded_text"]

TEXT_VERSION: Final = 1
"""Raised with every change after which the same chunk is embedded as another text."""
_DIGITS: Final = 32


def embedded_text(title: str, heading: str, text: str) -> str:
    """The text below its title and headings: a passage often does not name what it is about.

    A title that the headings begin with is not repeated.
    """
    path = (
        heading
        if heading == title or heading.startswith(f"{title} > ")
        else " > ".join(filter(None, (title, heading)))
    )
    return f"{path}\n{text}" if path else text


def chunk_key(embedded: str, occurrence: int) -> str:
    """The same for the same embedded text, so that a stored vector is known by the id of its chunk; `occurrence` counts
    from 0 the chunks of the document with the same text.
    """
    digest = hashlib.sha256(b"%d:" % occurrence)
    digest.update(embedded.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:_DIGITS]
