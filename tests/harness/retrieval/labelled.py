"""The labelled corpus of tests/data/retrieval: documents, and questions with the words that answer them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Final

import msgspec

__all__ = [
    "LANGUAGES",
    "LabelledQuestion",
    "cross_language_questions",
    "documents",
    "questions",
    "small_documents",
]

LANGUAGES: Final = ("en", "ru", "tr")
_ROOT: Final = Path(__file__).parents[3]
_DATA: Final = _ROOT / "tests/data/retrieval"


class LabelledQuestion(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    language: str
    question: str
    document: str
    quote: str
    paraphrase: bool
    """No word of the quote is in the question."""
    held_out: bool
    """Never used to choose anything."""

    def places(self, text: str) -> list[tuple[int, int]]:
        """Start and end of the quote in the text of the document, where any white space equals any other."""
        pattern = r"\s+".join(map(re.escape, self.quote.split()))
        return [match.span() for match in re.finditer(pattern, text)]


@lru_cache(1)
def documents() -> dict[str, str]:
    """Texts in Markdown by id: `<language>/<name>`, and `docs/<page>.md` of this repository."""
    found = {f"{language}/{name}": text for language in LANGUAGES for name, text in _own(language)}
    pages = {str(path.relative_to(_ROOT)): path.read_text() for path in sorted(_ROOT.glob("docs/**/*.md"))}
    return found | pages


def _own(corpus: str) -> Iterator[tuple[str, str]]:
    for line in (_DATA / f"documents_{corpus}.jsonl").read_text().splitlines():
        document = msgspec.json.decode(line, type=dict[str, str])
        yield document["id"], document["text"]


@lru_cache(1)
def small_documents() -> dict[str, str]:
    """Twelve short texts in three languages by id, `small/<language>/<name>`: a corpus of its own."""
    return {f"small/{name}": text for name, text in _own("small")}


@lru_cache(1)
def questions() -> tuple[LabelledQuestion, ...]:
    return _questions("questions")


@lru_cache(1)
def cross_language_questions() -> tuple[LabelledQuestion, ...]:
    """In another language than the document that answers them, which is one of either corpus."""
    return _questions("questions_cross_language")


def _questions(name: str) -> tuple[LabelledQuestion, ...]:
    lines = (_DATA / f"{name}.jsonl").read_text().splitlines()
    return tuple(msgspec.json.decode(line, type=LabelledQuestion) for line in lines)
