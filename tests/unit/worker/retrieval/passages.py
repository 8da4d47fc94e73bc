"""Passages for tests of retrieval."""

from __future__ import annotations

from typing import Any

from penstock.contract.retrieval.search import Passage

__all__ = ["passage", "split_passages"]


def passage(number: int, text: str, **fields: Any) -> Passage:
    return Passage(
        **{"document": f"docs/{number}.md", "chunk": f"c{number}", "text": text, "score": 0.9, **fields}
    )


def split_passages(text: str, size: int, overlap: int, document: str = "docs/a.md") -> list[Passage]:
    """Chunks of one document, in its order."""
    starts = range(0, max(1, len(text) - overlap), size - overlap)
    return [
        Passage(
            document=document,
            chunk=f"{document}-{start}",
            text=text[start : start + size],
            start=start,
            end=min(len(text), start + size),
            score=0.5,
        )
        for start in starts
    ]
