"""Estimates the tokens of a text without a tokenizer.

The estimate is for OpenAI's o200k vocabulary (gpt-4o and later, gpt-oss), by the kind of character. The weights
are chosen to agree with published counts: 4.38 characters a token over a million words of English and 2.66 of
Hungarian (aihirfolyam.hu, May 2024), the sentences of OpenAI's "Hello GPT-4o" in seven languages, and the
sample text of OpenAI's tokenizer page. The charges around the text are those of OpenAI's cookbook, "How to count
tokens with tiktoken".

Text that is dense in tokens (single letters, random letters, base64, rare scripts) costs more, by what is cheap to
count.
Each term only grows with the text, so that no text is estimated lower than a part of it.
"""

from __future__ import annotations

import random
from typing import Final, NamedTuple

__all__ = [
    "ASSUMED_OUTPUT_TOKENS",
    "OUTPUT_BYTES_PER_TOKEN",
    "TOKENS_PER_ATTACHMENT",
    "TOKENS_PER_JSON_BYTE",
    "TOKENS_PER_MESSAGE",
    "TOKENS_PER_REQUEST",
    "text_tokens",
    "with_margin",
]

ASSUMED_OUTPUT_TOKENS: Final = 1_000
"""Output tokens that the limits of providers count for a request without an output limit; corrected after the call.
Under budgets it is `budgets.assumed_output_tokens`, which is sent as the limit."""
OUTPUT_BYTES_PER_TOKEN: Final = 4
"""Bytes per token by which the output of a broken stream is estimated."""
TOKENS_PER_REQUEST: Final = 3
TOKENS_PER_MESSAGE: Final = 4
TOKENS_PER_ATTACHMENT: Final = 1_000
"""Tokens of an image, a sound or a file, whatever its size in bytes."""
TOKENS_PER_JSON_BYTE: Final = 0.25
"""Tokens per byte of tool definitions, schemas and tool calls: dense, but much of their punctuation shares tokens."""

_MARGIN_PERCENT: Final = 25
"""The estimate is within a quarter of a tokenizer's count for ordinary text in many languages
(tests/unit/runtime/test_tokens.py)."""

_MARGIN_TOKENS: Final = 16
"""Added to that, because single short texts deviate more: in some scripts each letter is a token or two."""

_SAMPLES: Final = 64
_SAMPLE_CHARACTERS: Final = 1024
_places: Final = random.SystemRandom()
"""Where a long text is sampled must not be known beforehand: dense text would be put between the places."""

# Tokens per character.
_LATIN_LETTER: Final = 1 / 4.0
_UNUSUAL_LETTER: Final = 0.8
"""In addition, for each of `_LESS_COMMON` above a quarter of the letters: random text has half."""
_UPPER_CASE: Final = 0.25
"""In addition, above a tenth of the letters."""
_DIGIT: Final = 0.5
_NEWLINE: Final = 0.7
_PUNCTUATION: Final = 0.75
_HAN: Final = 0.7
_LATER_HAN: Final = 2.12
"""Instead, where more than a third of the Han characters are from U+7000: in random text almost two thirds are."""


class _Letters(NamedTuple):
    """Characters beyond ASCII by the first byte of their UTF-8."""

    leads: bytes
    tokens: float
    """Per character."""
    prefixes: tuple[bytes, ...] = ()
    """The first two bytes of some of them that cost `tokens_of_prefixes` instead."""
    tokens_of_prefixes: float = 0.0


_LETTERS: Final = (
    _Letters(b"\xd0\xd1\xce\xcf\xd8\xd9\xd6\xd7", 1 / 3.0),  # Cyrillic, Greek, Arabic, Hebrew
    _Letters(b"\xc2\xc3\xc4\xc5\xc6", 1.2),  # accented Latin: it usually splits a word
    _Letters(bytes(range(0xC7, 0xCE)), 1.6),  # rare and phonetic Latin, combining accents
    _Letters(b"\xd2\xd3\xd4", 1.8),  # extended Cyrillic
    _Letters(b"\xd5\xda\xdb", 1.1),  # Armenian, the Arabic letters of other languages
    _Letters(b"\xdc\xdd\xde\xdf", 2.0),  # Syriac, Thaana, N'Ko: a token for each byte
    _Letters(b"\xeb\xec\xed", 0.7),  # Hangul; its first letters share a byte with rare scripts
    _Letters(b"\xea", 1.95, tuple(bytes((0xEA, each)) for each in range(0xB0, 0xC0)), 0.7),
    _Letters(b"\xe3", 1.95, (b"\xe3\x80", b"\xe3\x81", b"\xe3\x82", b"\xe3\x83"), 0.77),  # kana
    _Letters(b"\xe2", 1.5, (b"\xe2\x80", b"\xe2\x94", b"\xe2\x95"), 0.7),  # signs; dashes, quotes, lines
    _Letters(b"\xe0", 1.0, (b"\xe0\xa4", b"\xe0\xa5", b"\xe0\xb8", b"\xe0\xb9"), 0.7),  # Hindi, Thai
    _Letters(
        b"\xe1", 1.95, (b"\xe1\xba", b"\xe1\xbb", b"\xe1\x82", b"\xe1\x83"), 0.77
    ),  # Vietnamese, Georgian
    _Letters(b"\xef", 1.6, (b"\xef\xbc", b"\xef\xbd"), 0.9),  # full width
    _Letters(b"\xee", 1.9),
    _Letters(b"\xf0", 2.6, (b"\xf0\x9f",), 2.0),  # emoji
    _Letters(b"\xf1\xf2\xf3\xf4", 2.6),
)
"""The most frequent first."""

_LATIN: Final = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_UPPER: Final = _LATIN[26:]
_LESS_COMMON: Final = b"bcfgjkpqvwxyzBCFGJKPQVWXYZ"
"""A sixth of the letters of English."""
_NOT_LETTERS: Final = bytes(set(range(128)) - set(_LATIN + b" \t\r"))
_LETTERS_AND_BLANKS: Final = bytes(set(range(128)) - set(_NOT_LETTERS))
_DIGITS: Final = b"0123456789"
_CONTINUATIONS: Final = bytes(range(0x80, 0xC0))
_HAN_LEADS: Final = b"\xe4\xe5\xe6\xe7\xe8\xe9"
_LATER_HAN_LEADS: Final = b"\xe7\xe8\xe9"
_BLANK_OR_NOT: Final = bytes(b" "[0] if each in b" \t\r\n" else b"x"[0] for each in range(256))


def text_tokens(text: str) -> float:
    """Tokens of plain text; of a long one by samples from random places. Takes about 3 µs for a short prompt, at most
    2 ms.
    """
    if len(text) <= _SAMPLES * _SAMPLE_CHARACTERS:
        return _count_tokens(text)
    step = len(text) / _SAMPLES
    room = step - _SAMPLE_CHARACTERS
    starts = [int(at * step + _places.random() * room) for at in range(_SAMPLES)]
    sample = "".join([text[start : start + _SAMPLE_CHARACTERS] for start in starts])
    return _count_tokens(sample) * len(text) / len(sample)


def with_margin(estimated_tokens: int) -> int:
    """The most input tokens that a request estimated at `estimated_tokens` may have, for amounts that are reserved."""
    return -(-estimated_tokens * (100 + _MARGIN_PERCENT) // 100) + _MARGIN_TOKENS


def _count_tokens(text: str) -> float:
    # A JSON escape can produce half a surrogate pair, which has no UTF-8 encoding.
    data = text.encode("utf-8", "surrogatepass")
    marks = data.translate(None, _LETTERS_AND_BLANKS)
    newlines = marks.count(b"\n")
    digits = len(marks) - len(marks.translate(None, _DIGITS))
    punctuation = len(marks) - digits - newlines
    blanks = data.count(b" ")
    letters = len(data) - len(marks) - blanks
    in_words = letters * _LATIN_LETTER
    unusual = len(data) - len(data.translate(None, _LESS_COMMON)) - letters / 4
    if unusual > 0:
        in_words += unusual * _UNUSUAL_LETTER
    upper = len(data) - len(data.translate(None, _UPPER)) - letters / 10
    if upper > 0:
        in_words += upper * _UPPER_CASE
    if not text.isascii():
        high = marks.translate(None, _NOT_LETTERS)
        punctuation -= len(high)
        in_words += _count_high(high)
    if in_words < blanks + newlines + data.count(b"\t") + 1:
        # No word is less than a token.
        words = data.translate(_BLANK_OR_NOT).count(b" x") + (data[:1] > b" ")
        in_words = max(in_words, words)
    return in_words + digits * _DIGIT + newlines * _NEWLINE + punctuation * _PUNCTUATION


def _count_high(high: bytes) -> float:
    """Tokens of the characters beyond ASCII."""
    leads = high.translate(None, _CONTINUATIONS)
    others = leads.translate(None, _HAN_LEADS)
    han = len(leads) - len(others)
    tokens = max(han * _HAN, _count(leads, _LATER_HAN_LEADS) * _LATER_HAN) if han else 0.0
    for letters in _LETTERS:
        if not others:
            break
        found = _count(others, letters.leads)
        if found:
            others = others.translate(None, letters.leads)
            tokens += found * letters.tokens
            if letters.prefixes:
                cheaper = sum(map(high.count, letters.prefixes))
                tokens -= cheaper * (letters.tokens - letters.tokens_of_prefixes)
    return tokens


def _count(data: bytes, wanted: bytes) -> int:
    return len(data) - len(data.translate(None, wanted))
