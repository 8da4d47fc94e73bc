"""Removes the targets of links in Markdown that are not addresses of pages, files or mailboxes."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import Final

__all__ = ["without_unsafe_targets"]

_SAFE_SCHEMES: Final = frozenset(
    {"http", "https", "mailto", "tel", "ftp", "ftps", "sftp", "ssh", "git", "doi", "urn"}
)
"""A list of what is allowed: browsers run `javascript:`, `vbscript:` and `data:`, and programs know others."""
_TARGET: Final = re.compile(r"\](?:\(|:[ \t])")
_HEAD: Final = 200
"""Characters of a target that are looked at for its scheme, white space and escapes included."""
_PLAIN: Final = re.compile(r"https?://|mailto:|[\w./#?=%+~,-]*\)")
"""Safe without a closer look, as most targets are."""
_IGNORED: Final = re.compile(r"[\x00-\x20\x7f\u200b-\u200f\u2028\u2029\\<]+")
"""What browsers leave out of the scheme of an address, and what may stand before one in Markdown."""
_SCHEME: Final = re.compile(r"([a-z][a-z0-9+.-]*):", re.IGNORECASE)
_AUTOLINK: Final = re.compile(r"<([a-zA-Z][a-zA-Z0-9+.-]{1,31}):([^<>\s]*)>")
_ANGLED_END: Final = re.compile(r"(?:\\.|[^\\<>\n])*>[^()\n]*\)")
_PARENTHESES: Final = re.compile(r"\\.|[()]|\n[ \t]*\n", re.DOTALL)
_LINE_END: Final = re.compile(r"$", re.MULTILINE)


def without_unsafe_targets(markdown: str) -> str:
    """The text of such a link stays: `[text](javascript:run())` becomes `[text]`. In linear time."""
    return _AUTOLINK.sub(_autolink, "".join(_pieces(markdown)))


def _autolink(found: re.Match[str]) -> str:
    return found[0] if found[1].lower() in _SAFE_SCHEMES else f"{found[1]}:{found[2]}"


def _pieces(markdown: str) -> Iterator[str]:
    kept = 0
    for found in _TARGET.finditer(markdown):
        begin = found.end()
        if found.start() < kept or _PLAIN.match(markdown, begin) or _is_safe(markdown[begin : begin + _HEAD]):
            continue
        yield markdown[kept : found.start() + 1]
        kept = _end_of_target(markdown, found)
    yield markdown[kept:]


def _is_safe(head: str) -> bool:
    # Twice: a renderer decodes entities in a target once more after the HTML parser did.
    plain = _IGNORED.sub("", html.unescape(html.unescape(head)))
    scheme = _SCHEME.match(plain)
    return scheme is None or scheme[1].lower() in _SAFE_SCHEMES


def _end_of_target(markdown: str, found: re.Match[str]) -> int:
    """Behind the closing parenthesis; the end of the paragraph where there is none, the end of the line for the
    definition of a reference.
    """
    if not found[0].endswith("("):
        return _end_of_line(markdown, found.end())
    begin = found.end()
    while begin < len(markdown) and markdown[begin] in " \t\n":
        begin += 1
    if markdown.startswith("<", begin) and (angled := _ANGLED_END.match(markdown, begin + 1)):
        return angled.end()
    depth = 1
    for mark in _PARENTHESES.finditer(markdown, begin):
        if mark[0].startswith("\n"):
            return mark.start()
        depth += {"(": 1, ")": -1}.get(mark[0], 0)
        if depth == 0:
            return mark.end()
    return len(markdown)


def _end_of_line(markdown: str, begin: int) -> int:
    found = _LINE_END.search(markdown, begin)
    return len(markdown) if found is None else found.start()
