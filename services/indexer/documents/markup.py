"""HTML to Markdown: headings, lists, tables and code stay; scripts, styles, navigation and handlers do not."""

from __future__ import annotations

import html
import importlib
import re
from typing import Any, Final

from services.indexer.documents.document import DocumentRefused, Extracted
from services.indexer.documents.links import without_unsafe_targets
from services.indexer.documents.markdown import heading_title

__all__ = ["read_html"]

_HEAD: Final = 256 * 1024
"""Characters in which the title is looked for."""
_TITLE: Final = re.compile(r"<title\b[^>]{0,200}>([^<]{1,2000})", re.IGNORECASE)
_BLANK_LINES: Final = re.compile(r"\n{3,}")


def read_html(text: str) -> Extracted:
    """Elements nested more than 1,024 deep are left out, as the library does. Raises DocumentRefused."""
    library: Any = importlib.import_module("html_to_markdown")
    options = library.ConversionOptions(
        extract_metadata=False,  # would stand before the text
        autolinks=False,
        include_blockquote_citations=False,
        inline_data_media="alt_text_only",
        compact_tables=True,
    )
    try:
        markdown = library.convert(text, options).content or ""
    except MemoryError:
        raise
    except Exception as error:
        raise DocumentRefused("broken", f"it cannot be read as HTML: {str(error)[:200]}") from error
    found = _TITLE.search(text[:_HEAD])
    title = "" if found is None else " ".join(html.unescape(found[1]).split())
    content = _BLANK_LINES.sub("\n\n", without_unsafe_targets(markdown)).strip("\n")
    return Extracted(content, title or heading_title(content), "html")
