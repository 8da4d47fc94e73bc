"""Estimates the tokens of a text without a tokenizer.

The estimate is for OpenAI's o200k vocabulary (gpt-4o and later, gpt-oss), by the kind of character. The weights
are chosen to agree with published counts: 4.38 characters a token over a million words of English and 2.66 of
Hungarian (aihirfolyam.hu, May 2024), the sentences of OpenAI's "Hello GPT-4o" in seven languages, and the
sample text of OpenAI's tokenizer page. The charges around the text are those of OpenAI's cookbook, "How to count
tokens with tiktoken".
"""

from __future__ import annotations

from typing import Final

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

_SAMPLES: Final = 16
_SAMPLE_CHARACTERS: Final = 8 * 1024

# Tokens per character.
_LATIN_LETTER: Final = 1 / 4.0
_DIGIT: Final = 0.5
_NEWLINE: Final = 0.7
_PUNCTUATION: Final = 0.75
_LATIN_EXTENDED: Final = 1.2
"""An accented letter usually splits a word that would otherwise be one token."""
_TWO_BYTE_LETTER: Final = 1 / 3.0
"""Cyrillic, Greek, Hebrew, Arabic."""
_RARE_TWO_BYTE_LETTER: Final = 2.0
"""Syriac, Thaana, N'Ko: a token for each byte."""
_THREE_BYTE_CHARACTER: Final = 0.7
"""Han, kana, Hangul, the scripts of India, typographic signs."""
_FOUR_BYTE_CHARACTER: Final = 2.0
"""Emoji."""

_NOT_LETTERS: Final = bytes(
    set(range(128)) - set(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ \t\r")
)
_LETTERS_AND_BLANKS: Final = bytes(set(range(128)) - set(_NOT_LETTERS))
_DIGITS: Final = b"0123456789"
_LATIN_LEADS: Final = bytes(range(0xC2, 0xCB))
_TWO_BYTE_LEADS: Final = bytes(range(0xCB, 0xDC))
_RARE_TWO_BYTE_LEADS: Final = bytes(range(0xDC, 0xE0))
_THREE_BYTE_LEADS: Final = bytes(range(0xE0, 0xF0))
_FOUR_BYTE_LEADS: Final = bytes(range(0xF0, 0xF5))


def text_tokens(text: str) -> float:
    """Tokens of plain text; a long one is sampled. Takes about 3 µs for a short prompt, at most 2 ms."""
    if len(text) <= _SAMPLES * _SAMPLE_CHARACTERS:
        return _count_tokens(text)
    step = len(text) // _SAMPLES
    sample = "".join([text[at * step : at * step + _SAMPLE_CHARACTERS] for at in range(_SAMPLES)])
    return _count_tokens(sample) * len(text) / len(sample)


def with_margin(estimated_tokens: int) -> int:
    """The most input tokens that a request estimated at `estimated_tokens` may have, for amounts that are reserved."""
    return -(-estimated_tokens * (100 + _MARGIN_PERCENT) // 100) + _MARGIN_TOKENS


def _count_tokens(text: str) -> float:
    # A JSON escape can produce half a surrogate pair, which has no UTF-8 encoding.
    data = text.encode("utf-8", "surrogatepass")
    marks = data.translate(None, _LETTERS_AND_BLANKS)
    letters = len(data) - len(marks) - data.count(b" ")
    newlines = marks.count(b"\n")
    digits = _count(marks, _DIGITS)
    tokens = letters * _LATIN_LETTER + digits * _DIGIT + newlines * _NEWLINE
    punctuation = len(marks) - digits - newlines
    if not text.isascii():
        high = marks.translate(None, _NOT_LETTERS)
        punctuation -= len(high)
        tokens += (
            _count(high, _LATIN_LEADS) * _LATIN_EXTENDED
            + _count(high, _TWO_BYTE_LEADS) * _TWO_BYTE_LETTER
            + _count(high, _RARE_TWO_BYTE_LEADS) * _RARE_TWO_BYTE_LETTER
            + _count(high, _THREE_BYTE_LEADS) * _THREE_BYTE_CHARACTER
            + _count(high, _FOUR_BYTE_LEADS) * _FOUR_BYTE_CHARACTER
        )
    return tokens + punctuation * _PUNCTUATION


def _count(data: bytes, wanted: bytes) -> int:
    return len(data) - len(data.translate(None, wanted))
