"""Markdown: its title, and its text without link targets that run scripts."""

from __future__ import annotations

import re
from typing import Final

from services.indexer.documents.document import Extracted
from services.indexer.documents.links import without_unsafe_targets

__all__ = ["heading_title", "read_markdown"]

_HEAD: Final = 16_384
"""Characters in which a title is looked for."""
_FRONT_MATTER: Final = re.compile(r"\A(---|\+\+\+)[ \t]*\n(.*?)^\1[ \t]*$", re.DOTALL | re.MULTILINE)
_TITLE_LINE: Final = re.compile(r"^title[ \t]*[:=][ \t]*(.+)$", re.MULTILINE | re.IGNORECASE)
_HEADING: Final = re.compile(r"^#[ \t]+(\S[^\n]{0,300})", re.MULTILINE)
_MARKS: Final = re.compile(r"[*`]|(?<!\w)_|_(?!\w)|!?\[([^\]]*)\](?:\([^)]*\))?")


def read_markdown(text: str) -> Extracted:
    return Extracted(
        without_unsafe_targets(text), _front_matter_title(text) or heading_title(text), "markdown"
    )


def _front_matter_title(text: str) -> str:
    front = _FRONT_MATTER.match(text[:_HEAD])
    found = None if front is None else _TITLE_LINE.search(front[2])
    return "" if found is None else found[1].strip().strip("\"'")


def heading_title(markdown: str) -> str:
    """The first heading of level one, without emphasis and links."""
    found = _HEADING.search(markdown[:_HEAD])
    return "" if found is None else _MARKS.sub(r"\1", found[1].rstrip(" \t#")).strip()
