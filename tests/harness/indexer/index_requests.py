"""Catalogues with retrieval, corpora, and requests to an indexer of a running system."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from penstock.client.client import Client
from penstock.contract.retrieval.documents import Document, IndexReport
from penstock.errors import UnknownCollection
from tests.harness.processes.catalogues import catalogue

__all__ = [
    "CHUNKS",
    "MODEL",
    "OTHER_MODEL",
    "corpus",
    "index",
    "retrieval_catalogue",
    "stored_chunks",
    "text_of",
]

MODEL, OTHER_MODEL = "m-embed", "m-other"
CHUNKS = 3
"""Of each document of a corpus."""


def retrieval_catalogue(
    retrieval: Mapping[str, Any] | None = None, *, model: str = MODEL, dimensions: int = 256, **sections: Any
) -> str:
    """Two embedding models of different spaces; the first is that of new collections."""
    return catalogue(
        {"embed": [model], "embed_other": [OTHER_MODEL]},
        models={
            model: {"embedding": {"dimensions": dimensions, "shortens": True}},
            OTHER_MODEL: {"embedding": {"dimensions": dimensions}},
        },
        retrieval={"chunking": {"characters": 400, "overlap": 0}, **(retrieval or {})},
        **sections,
    )


def text_of(number: int, version: int = 0) -> str:
    """Markdown with one chunk for each of its paragraphs; of another version the first paragraph differs."""
    parts = []
    for part in range(CHUNKS):
        says = f"v{version:03}" if part == 0 and version else "says"  # as long, so that chunks stay chunks
        sentence = (
            f"Document {number} {says} in part {part} what nobody else says about {number * 7 + part}. "
        )
        parts.append(f"## Part {part}\n\n{(sentence * 5).strip()}")
    return f"# Report {number}\n\n" + "\n\n".join(parts)


def corpus(numbers: Sequence[int], version: int = 0) -> list[Document]:
    return [
        Document(id=f"reports/{number:05}.md", text=text_of(number, version), metadata={"number": number})
        for number in numbers
    ]


async def index(client: Client, collection: str = "docs", **change: Any) -> IndexReport:
    """Change a collection, and wait until that is done."""
    return await client.index_and_wait(collection, timeout_s=120, **change)


async def stored_chunks(client: Client, collection: str = "docs") -> dict[str, int]:
    """The number of chunks of each document; none for a collection that does not exist."""
    found: dict[str, int] = {}
    after = ""
    while True:
        try:
            report = await client.documents(collection, after=after, timeout_s=30)
        except UnknownCollection:
            return {}
        found |= {each.id: each.chunks for each in report.documents}
        if not report.more:
            return found
        after = report.documents[-1].id
