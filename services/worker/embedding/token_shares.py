"""Shares of tokens: of texts in the estimate of their request, and of requests in the count of their call. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from penstock.contract.reply import text_bytes
from penstock.runtime.retrieval.embedding_key import EmbeddingText
from penstock.runtime.tokens import text_tokens

__all__ = ["divided", "most_tokens", "tokens_of"]

_SPECIAL_TOKENS: Final = 8
"""That a tokenizer puts around a text."""


def tokens_of(texts: Sequence[EmbeddingText], estimated: int) -> list[int]:
    """At least one for each text; those of token arrays are exact.

    `estimated`: of the whole request, divided by the length of the texts; 0: each text is estimated here.
    """
    total = sum([len(text) for text in texts if isinstance(text, str)])
    if estimated <= 0 or total == 0:
        return [max(1, round(text_tokens(text))) if isinstance(text, str) else len(text) for text in texts]
    per_character = estimated / total
    return [
        max(1, round(len(text) * per_character)) if isinstance(text, str) else len(text) for text in texts
    ]


def most_tokens(text: EmbeddingText) -> int:
    """That a provider can count for a text: a byte-level tokenizer makes at most one of each byte."""
    return _SPECIAL_TOKENS + (text_bytes(text) if isinstance(text, str) else len(text))


def divided(total: int, weights: Sequence[int]) -> list[int]:
    """`total` in parts in proportion to `weights`, which are not negative. The parts sum up to `total` exactly, and
    each is less than one away from its proportion. Without any weight the parts are equal.
    """
    if not any(weights):
        weights = [1] * len(weights)
    whole = sum(weights)
    parts, given, weight = [], 0, 0
    for each in weights:
        weight += each
        until = total * weight // whole
        parts.append(until - given)
        given = until
    return parts
