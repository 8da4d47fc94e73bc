"""Estimated tokens of the texts of a request: their shares of what the router estimated for all of it. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.runtime.retrieval.embedding_key import EmbeddingText
from penstock.runtime.tokens import text_tokens

__all__ = ["tokens_of"]


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
