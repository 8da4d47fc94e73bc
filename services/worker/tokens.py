"""How many tokens a request will cost to read, guessed without a tokenizer.

The guess is for OpenAI's o200k vocabulary (gpt-4o and later, gpt-oss), by the kind of character. The weights
are chosen to agree with published counts: 4.38 characters a token over a million words of English and 2.66 of
Hungarian (aihirfolyam.hu, May 2024), the sentences of OpenAI's "Hello GPT-4o" in seven languages, and the
sample text of OpenAI's tokenizer page. The charge per message is that of OpenAI's cookbook, "How to count
tokens with tiktoken". What remains is learnt from the usage that providers report: `Calibration`.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec
from msgspec import Raw, Struct

__all__ = ["Calibration", "estimate_input_tokens", "estimate_text_tokens"]

# Tokens per character.
_LATIN_LETTER: Final = 1 / 4.0
_DIGIT: Final = 0.5
_NEWLINE: Final = 0.7
_PUNCTUATION: Final = 0.75
_LATIN_EXTENDED: Final = 1.2
"""An accented letter usually breaks a word that would else be one token."""
_TWO_BYTE_LETTER: Final = 1 / 3.0
"""Cyrillic, Greek, Hebrew, Arabic."""
_THREE_BYTE_CHARACTER: Final = 0.7
"""Han, kana, Hangul, the scripts of India, typographic signs."""
_FOUR_BYTE_CHARACTER: Final = 2.0
"""Emoji."""
_JSON_BYTE: Final = 1 / 4
"""Tool definitions, schemas, tool calls: dense, but much of their punctuation shares tokens."""

_PER_MESSAGE: Final = 4
_PER_REQUEST: Final = 3
_PER_ATTACHMENT: Final = 1_000
"""An image, a sound or a file, whatever its size in bytes."""

_NOT_LETTERS: Final = bytes(
    set(range(128)) - set(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ \t\r")
)
_LETTERS_AND_BLANKS: Final = bytes(set(range(128)) - set(_NOT_LETTERS))
_DIGITS: Final = b"0123456789"
_LATIN_LEADS: Final = bytes(range(0xC2, 0xCB))
_TWO_BYTE_LEADS: Final = bytes(range(0xCB, 0xE0))
_THREE_BYTE_LEADS: Final = bytes(range(0xE0, 0xF0))
_FOUR_BYTE_LEADS: Final = bytes(range(0xF0, 0xF5))
_DATA_URL: Final = re.compile(rb'"data:[^"]*"')


class _Part(Struct, gc=False):
    type: str = "text"
    text: str | None = None


class _Message(Struct):
    content: str | list[_Part] | None = None
    tool_calls: Raw | None = None


class _Request(Struct):
    messages: list[_Message] = []
    tools: Raw | None = None
    response_format: Raw | None = None
    input: str | list[str | int | list[int]] | None = None


_decode: Final = msgspec.json.Decoder(_Request).decode


def estimate_input_tokens(body: bytes | Raw) -> int:
    """Tokens the provider will count as input for this OpenAI body (chat, or the `input` of embeddings).

    Never raises: a body that no provider would take is guessed by its size, data URLs left out.
    """
    try:
        request = _decode(body)
    except ValueError:
        return round(len(_DATA_URL.sub(b"", bytes(body))) * _JSON_BYTE)
    texts: list[str] = []
    tokens: float = _PER_REQUEST + _PER_MESSAGE * len(request.messages)
    for message in request.messages:
        if isinstance(message.content, str):
            texts.append(message.content)
        elif message.content is not None:
            tokens += _add_parts(texts, message.content)
        tokens += _json_tokens(message.tool_calls)
    if request.input is not None:
        tokens += _add_input(texts, request.input)
    tokens += _json_tokens(request.tools) + _json_tokens(request.response_format)
    return round(tokens + estimate_text_tokens("".join(texts)))


def estimate_text_tokens(text: str) -> float:
    """Tokens of plain text. About 1 µs for a short prompt, 3 ms for a megabyte."""
    data = text.encode()
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
            + _count(high, _THREE_BYTE_LEADS) * _THREE_BYTE_CHARACTER
            + _count(high, _FOUR_BYTE_LEADS) * _FOUR_BYTE_CHARACTER
        )
    return tokens + punctuation * _PUNCTUATION


class Calibration:
    """What true usage has taught about the estimates of each model: a factor, smoothed and bounded.

    Feed it with estimates as `estimate_input_tokens` made them, not with corrected ones.
    """

    def __init__(self, *, weight: float = 0.2, least: float = 0.3, most: float = 3.0) -> None:
        """`weight`: the share of the newest observation in the exponentially weighted mean."""
        self._weight = weight
        self._least = least
        self._most = most
        self._factors: dict[str, float] = {}

    def observe(self, model: str, *, estimated_tokens: int, true_tokens: int) -> None:
        """Learn from one answer. An answer without usage (0 tokens) teaches nothing."""
        if estimated_tokens <= 0 or true_tokens <= 0:
            return
        seen = min(self._most, max(self._least, true_tokens / estimated_tokens))
        factor = self.factor(model)
        self._factors[model] = factor + self._weight * (seen - factor)

    def factor(self, model: str) -> float:
        """1.0 for a model that nothing is known about."""
        return self._factors.get(model, 1.0)

    def corrected(self, model: str, estimated_tokens: int) -> int:
        """The estimate as it should be for `model`."""
        return round(estimated_tokens * self.factor(model))


def _add_parts(texts: list[str], parts: list[_Part]) -> int:
    attachments = 0
    for part in parts:
        if part.text is not None:
            texts.append(part.text)
        elif part.type not in {"text", "refusal"}:
            attachments += 1
    return attachments * _PER_ATTACHMENT


def _add_input(texts: list[str], embedded: str | list[str | int | list[int]]) -> int:
    """Embedding input may already be tokens: one list of them, or several."""
    if isinstance(embedded, str):
        texts.append(embedded)
        return 0
    texts.extend(item for item in embedded if isinstance(item, str))
    return sum(len(item) if isinstance(item, list) else 1 for item in embedded if not isinstance(item, str))


def _json_tokens(raw: Raw | None) -> float:
    return 0.0 if raw is None else len(raw) * _JSON_BYTE


def _count(data: bytes, wanted: bytes) -> int:
    return len(data) - len(data.translate(None, wanted))
