"""Strips from a provider's message what may be an echo of the request.

A message is one line of bounded length, and every function here runs in time linear in that length.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["strip_echoes", "strip_input_dumps", "strip_long_quotes", "strip_urls"]

_INPUT_DUMP: Final = re.compile(r"\[?(?:input_value|input_type|received|got)[=:].*|'input': .*", re.DOTALL)
_URL: Final = re.compile(r"(?:[a-z][a-z0-9+.-]{1,15}://|\bdata:\w+/|\bwww\.).*$", re.IGNORECASE)
"""A URL, to the end of the message: a provider repeats an image's URL as it was sent, which may contain spaces."""
_CLOSING_QUOTES: Final = {"'": "'", '"': '"', "`": "`", "“": "”", "‘": "’", "«": "»"}


def strip_urls(message: str) -> str:
    return _URL.sub("…", message)


def strip_input_dumps(message: str) -> str:
    """The message in lower case, without the input that a validation error repeats."""
    return _INPUT_DUMP.sub("", message).lower()


def strip_echoes(message: str) -> str:
    """The message in lower case, without quotes, URLs, JSON, and the input that a validation error repeats."""
    return strip_input_dumps(_strip_quotes(strip_urls(message), names_and_json=True))


def strip_long_quotes(message: str) -> str:
    """The message without URLs and quotes of several words. A quoted single name is what the refusal is about."""
    return _strip_quotes(strip_urls(message), names_and_json=False)


def _strip_quotes(text: str, *, names_and_json: bool) -> str:
    """Strip quotes of several words; with `names_and_json` all quotes, and the text from the first brace to the last.
    A quote or brace that is not closed extends to the end of the text.
    """
    kept: list[str] = []
    at = 0
    while at < len(text):
        character, end = text[at], at + 1
        if _opens_quote(text, at):
            closed = _end_of_quote(text, at)
            if names_and_json or (" " in text[at:closed] and not text[end : end + 1].isspace()):
                character, end = "…", closed
        elif names_and_json and _opens_json(text, at):
            closed = max(text.rfind("}"), text.rfind("]"))
            character, end = "… ", closed + 1 if closed > at else len(text)
        kept.append(character)
        at = end
    return "".join(kept)


def _opens_json(text: str, at: int) -> bool:
    following = text[at + 1 : at + 2]
    return bool(following) and (text[at] == "{" or (text[at] == "[" and following in "{'\" "))


def _opens_quote(text: str, at: int) -> bool:
    return text[at] in _CLOSING_QUOTES and (at == 0 or not text[at - 1].isalnum())


def _end_of_quote(text: str, at: int) -> int:
    """The index after the mark that closes the quote opened at `at`; a mark within a word, as in `don't`, does not."""
    mark = _CLOSING_QUOTES[text[at]]
    at += 1
    while (end := text.find(mark, at)) >= 0:
        if not text[end + 1 : end + 2].isalnum():
            return end + 1
        at = end + 1
    return len(text)
