"""Recognises media and other encoded data in the place of text: what looks otherwise is read as text."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["is_base64", "is_data_url"]

_ALPHABET: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/_-="
_SHORTEST: Final = 64
"""Characters of base64 below which a value may as well be a word, a number or a secret."""
_HEAD: Final = re.compile(
    r"data:[\w.+-]{1,80}/[\w.+-]{1,80}(?:;[\w.+-]{1,40}=[\w.+-]{1,80}){0,4};base64,", re.ASCII
)


def is_base64(text: str) -> bool:
    """Whether the text is long and has characters of base64 only. Linear time, about 1 ns a character."""
    return len(text) >= _SHORTEST and _only_base64(text)


def is_data_url(text: str) -> bool:
    """Whether the text is a `data:` URL with a media type and base64, and nothing else."""
    head = _HEAD.match(text)
    return head is not None and _only_base64(text[head.end() :])


def _only_base64(text: str) -> bool:
    return text.isascii() and not text.encode().translate(None, _ALPHABET)
