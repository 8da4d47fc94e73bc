"""What names the parts of a text: headings of Markdown, definitions of source code; and the path of them to a place."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from services.indexer.chunking.scanning import matches
from services.indexer.documents.document import Heading

__all__ = ["HeadingPath", "definitions", "markdown_headings"]

_TITLE_CHARACTERS: Final = 120
_PATH_CHARACTERS: Final = 400
"""The beginning of a longer path is left out."""
_SEPARATOR: Final = " > "

_MARKDOWN: Final = re.compile(
    r"^ {0,3}(?P<level>#{1,6})[ \t]+(?P<title>\S[^\n]{0,400})"
    r"|^ {0,3}(?P<fence>`{3,}|~{3,})(?P<info>[^\n]{0,80})"
    r"|(?:\A|(?<=\n\n))(?P<under>[^\s>#|`~*+-][^\n]{0,200})\n(?P<line>={3,}|-{3,})[ \t]*$",
    re.MULTILINE,
)
_MARKS: Final = re.compile(r"[*`]|(?<!\w)_|_(?!\w)|!?\[([^\]]*)\](?:\([^)]*\))?")
_MODIFIER: Final = (
    r"(?:export|default|declare|public|private|protected|internal|static|abstract|final|async|pub(?:\([a-z]+\))?|"
    r"inline|override|suspend|virtual|data|sealed|open|unsafe|const|extern|partial)"
)
_KIND: Final = (
    r"(?:class|def|fn|func|fun|function\*?|interface|struct|impl|enum|trait|module|namespace|object|type|record|"
    r"protocol|extension|defmodule|defp?|sub|(?i:create(?:\s+or\s+replace)?\s+(?:table|view|function|procedure|index)))"
)
_NAME: Final = (  # with what follows it: prose has lines that begin with "class of"
    r"[\w$.:'`\"]{1,100}[ \t]*(?=[(<:{=\[;]|$|(?:extends|implements|for|where|struct|interface|is|as|do|func)\b)"
)
_DEFINITION: Final = re.compile(
    r"^(?:[ \t]*(?:@|#|//|/\*|\*)[^\n]*\n){0,20}"  # its decorators and comments
    rf"(?P<indent>[ \t]*)(?P<title>(?:{_MODIFIER}[ \t]+){{0,5}}{_KIND}(?:[ \t]+{_NAME}|[ \t]*[(<])[^\n]{{0,300}})",
    re.MULTILINE,
)
_DATA_LANGUAGES: Final = frozenset({"css", "xml", "yaml", "toml", "ini", "makefile", "dockerfile", "nix"})


class HeadingPath:
    """The headings that a place is below, for headings in the order of the text."""

    def __init__(self) -> None:
        self._above: list[Heading] = []

    def enter(self, heading: Heading) -> str:
        """The path to the text below `heading`."""
        while self._above and self._above[-1].level >= heading.level:
            self._above.pop()
        self._above.append(heading)
        return _SEPARATOR.join(each.title for each in self._above if each.title)[-_PATH_CHARACTERS:]


def markdown_headings(text: str) -> Iterator[Heading]:
    """Those outside of fenced code, in both styles."""
    fence = ""
    for found in matches(_MARKDOWN, text):
        if mark := found["fence"]:
            if not fence:
                fence = mark
            elif mark.startswith(fence) and not found["info"].strip():
                fence = ""
        elif fence:
            continue
        elif found["level"]:
            yield Heading(found.start(), len(found["level"]), _title(found["title"].rstrip(" \t#")))
        else:
            yield Heading(found.start(), 1 if found["line"][0] == "=" else 2, _title(found["under"]))


def definitions(text: str, language: str) -> Iterator[Heading]:
    """Classes, functions and the like, with their comments, by the words that begin them in most languages; nested by
    their indentation.
    """
    if language in _DATA_LANGUAGES:
        return
    for found in matches(_DEFINITION, text):
        indent = len(found["indent"].expandtabs(4))
        yield Heading(found.start(), indent, found["title"].rstrip(" \t{:")[:_TITLE_CHARACTERS])


def _title(markdown: str) -> str:
    return " ".join(_MARKS.sub(r"\1", markdown).split())[:_TITLE_CHARACTERS]
