"""What a provider's message repeats of the request, taken out of it: the rest are the provider's own words.

A message is one line of bounded length here, and all that is done to it takes time in proportion to that length.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["unaltered", "without_addresses", "without_echoes", "without_phrases"]

_ECHO: Final = re.compile(r"\[?(?:input_value|input_type|received|got)[=:].*|'input': .*", re.DOTALL)
_ADDRESS: Final = re.compile(r"(?:[a-z][a-z0-9+.-]{1,15}://|\bdata:\w+/|\bwww\.).*$", re.IGNORECASE)
"""To the end of the message: an image's address is repeated as it was sent, which may be with spaces in it."""
_MARKS: Final = {"'": "'", '"': '"', "`": "`", "“": "”", "‘": "’", "«": "»"}


def without_addresses(message: str) -> str:
    return _ADDRESS.sub("…", message)


def without_echoes(message: str) -> str:
    """The provider's own words, in lower case: without quotations, addresses, JSON, and what a validation error
    repeats of the request.
    """
    return _ECHO.sub("", _without_quotations(without_addresses(message))).lower()


def _without_quotations(text: str) -> str:
    """What stands between quotation marks or braces is left out, to the end of the text where they are not closed.

    Linear: each character is looked at once, and each kind of mark searched for once more.
    """
    kept: list[str] = []
    at = 0
    while at < len(text):
        mark = text[at]
        if mark in "{[" and at + 1 < len(text) and (mark == "{" or text[at + 1] in "{'\" "):
            kept.append("… ")
            end = max(text.rfind("}"), text.rfind("]"))
            at = end + 1 if end > at else len(text)
        elif mark in _MARKS and (at == 0 or not text[at - 1].isalnum()):
            kept.append("…")
            at = _closed(text, at + 1, _MARKS[mark])
        else:
            kept.append(mark)
            at += 1
    return "".join(kept)


def without_phrases(message: str) -> str:
    """Without addresses and quotations of more than a name: a name in quotation marks is what a refusal is of."""
    message = without_addresses(message)
    kept: list[str] = []
    at = 0
    while at < len(message):
        mark = message[at]
        end = at + 1
        if mark in _MARKS and (at == 0 or not message[at - 1].isalnum()):
            closed = _closed(message, end, _MARKS[mark])
            if " " in message[at:closed] and not message[at + 1 : at + 2].isspace():
                mark, end = "…", closed
        kept.append(mark)
        at = end
    return "".join(kept)


def _closed(text: str, at: int, mark: str) -> int:
    """Behind the mark that ends a quotation; one within a word, as in `don't`, does not."""
    while (end := text.find(mark, at)) >= 0:
        if not text[end + 1 : end + 2].isalnum():
            return end + 1
        at = end + 1
    return len(text)


def unaltered(message: str) -> str:
    """In lower case, without what a validation error repeats of the request."""
    return _ECHO.sub("", message).lower()
