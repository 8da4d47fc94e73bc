"""The key of a stored vector: a digest of vector space, dimensions and text (stream LLM_EMBEDDINGS)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

__all__ = ["EmbeddingKeys", "EmbeddingText"]

EmbeddingText = str | list[int]
"""A text, or a text as tokens."""


class EmbeddingKeys:
    """The keys of texts in one vector space, with one number of dimensions.

    The parts of the digest cannot be mistaken for each other: the length of the name of the space comes first, and a
    number ends before the text.
    """

    __slots__ = ("_texts", "_tokens")

    def __init__(self, space: str, dimensions: int) -> None:
        name = space.encode("utf-8", "surrogatepass")
        prefix = b"%d:%b:%d:" % (len(name), name, dimensions)
        self._texts = hashlib.sha256(prefix + b"text:")
        self._tokens = hashlib.sha256(prefix + b"tokens:")

    def of(self, text: EmbeddingText) -> str:
        """The digest in hexadecimal."""
        if isinstance(text, str):
            digest = self._texts.copy()
            digest.update(text.encode("utf-8", "surrogatepass"))
        else:
            digest = self._tokens.copy()
            digest.update(",".join(map(str, text)).encode())
        return digest.hexdigest()

    def of_all(self, texts: Sequence[EmbeddingText]) -> list[str]:
        """The digests of all these texts, in their order."""
        return [self.of(text) for text in texts]
