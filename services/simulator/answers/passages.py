"""Numbered passages that Penstock put before the model, and the one that an answer cites."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from msgspec import Struct

__all__ = ["Citation", "best_citation"]

_PASSAGE: Final = re.compile(
    r"^--- (?P<mark>\w+) passage \[(?P<number>[0-9]{1,4})\] ---\n(?P<lines>.*?)\n\n(?P<text>.*?)"
    r"^--- (?P=mark) end of \[(?P=number)\] ---$",
    re.DOTALL | re.MULTILINE,
)
"""As services/worker/retrieval/prompt.py writes it."""
_SENTENCE: Final = re.compile(r"[^.!?\n]*[^.!?\s][^.!?\n]*[.!?]?")
_NO_PROSE: Final = re.compile(r"^\s*[|#>`].*$|[*`]", re.MULTILINE)
"""Rows of tables, headings and code of Markdown, and the marks inside of its sentences."""
_WORD: Final = re.compile(r"\w{4,}")
"""Shorter words are in every text."""
_BEGINNING: Final = 5
"""Letters by which words are compared, so that `limit` is found in `limits`."""
_LONGEST: Final = 200


class Citation(Struct, frozen=True):
    number: int
    sentence: str


def best_citation(texts: Iterable[str], question: str) -> Citation | None:
    """The sentence of a passage with the most words of the question; None: no passage has one of them."""
    wanted = _words(question)
    best: tuple[int, Citation] | None = None
    for text in texts:
        for passage in _PASSAGE.finditer(text):
            for sentence in _SENTENCE.findall(_NO_PROSE.sub("", passage["text"])):
                shared = len(wanted & _words(sentence))
                if shared and (best is None or shared > best[0]):
                    best = shared, Citation(int(passage["number"]), _shortened(sentence))
    return None if best is None else best[1]


def _words(text: str) -> set[str]:
    return {word[:_BEGINNING] for word in _WORD.findall(text.lower())}


def _shortened(sentence: str) -> str:
    line = " ".join(sentence.split())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST].rsplit(' ', 1)[0]} …"
