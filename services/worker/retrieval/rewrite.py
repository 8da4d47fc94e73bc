"""Follow-up questions of a conversation, completed by rule: no model is called, and the same turns give the same text.

"And in winter?" finds nothing by itself. A question that refers to what was said before gets the content words of the
previous turns of the user behind it. English, Russian and Turkish.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from penstock.runtime.retrieval.stop_words import BEGINNINGS, PRONOUNS
from penstock.runtime.retrieval.terms import terms

__all__ = ["complete_question", "refers_back"]

_MAX_TURNS: Final = 4
_MAX_WORDS: Final = 12
"""Words that are added: more would bury the question itself."""
_SHORT: Final = 5
"""Content words up to which a pronoun, or a beginning such as "and", refers to an earlier turn. A longer question says
itself what it is about: "it" in it mostly refers to its own beginning.
"""
_MAX_CHARACTERS: Final = 4_000

_WORD: Final = re.compile(r"[^\W_]+(?:[_'’.-][^\W_]+)*")
_PHRASES: Final = ("what about", "how about", "что насчёт", "как насчёт", "peki ya")


def complete_question(question: str, earlier: Sequence[str]) -> str:
    """The question, with words of the user's `earlier` turns (oldest first) where it needs them.

    They come from the latest turn, and from those before it as long as that one is a follow-up itself.
    """
    if not refers_back(question):
        return question
    added: dict[str, str] = {}
    known = set(terms(question[:_MAX_CHARACTERS]).split())
    for turn in reversed(earlier[-_MAX_TURNS:]):
        for word, term in _content_words(turn):
            if term not in known and len(added) < _MAX_WORDS:
                added.setdefault(term, word)
        if not refers_back(turn):
            break
    return " ".join([question.rstrip(), *added.values()])


def refers_back(text: str) -> bool:
    """Whether a turn needs the ones before it to be understood."""
    text = text[:_MAX_CHARACTERS]
    words = [word.casefold() for word in _WORD.findall(text)]
    content = _content_words(text)
    if not content:
        return True
    if len(content) > _SHORT:
        return False
    if len(content) == 1 and len(words) <= 2 and not _names_something(content[0][0]):
        return True
    begins = words[0] in BEGINNINGS or " ".join(words).startswith(_PHRASES)
    return begins or any(word in PRONOUNS for word in words)


def _content_words(text: str) -> list[tuple[str, str]]:
    """The words with their first term, without stop words and pronouns, each term once."""
    found: dict[str, str] = {}
    for word in _WORD.findall(text[:_MAX_CHARACTERS]):
        term = terms(word).partition(" ")[0]
        if term and word.casefold() not in PRONOUNS:
            found.setdefault(term, word)
    return [(word, term) for term, word in found.items()]


def _names_something(word: str) -> bool:
    """An identifier, an error code or a name in capitals is a subject by itself."""
    return any(character.isdigit() or character == "_" for character in word) or word[1:] != word[1:].lower()
