"""The section `retrieval`: how documents are indexed and searched; and the section `embedding` of a model.

A catalogue without `retrieval` has no indexer: index requests and requests with `rag` are rejected.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from msgspec import Struct, field

from penstock.runtime.config.bounds import Positive, PositiveInt, Share, bounded
from penstock.runtime.config.problems import ProblemReport

__all__ = [
    "Chunking",
    "Embedding",
    "Memory",
    "Retrieval",
    "Store",
    "check_retrieval",
    "read_retrieval",
    "retrieval_missing",
]

_MIN_CHUNK: Final = 200
_Inputs = Annotated[
    int, bounded("must be 1 to 2048", "write how many texts the provider takes at once", ge=1, le=2_048)
]


class Embedding(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What makes a model an embedding model: its vectors, and the limits of one call."""

    dimensions: PositiveInt
    """Of its vectors, unless a request names fewer."""
    shortens: bool = False
    """Whether it accepts `dimensions` in a request, as the text-embedding-3 models of OpenAI do."""
    space: str | None = None
    """Models with the same space give the same vectors, as one model at two providers does; only these may share a
    chain. None: the provider's name of the model."""
    max_inputs: _Inputs = 2_048
    """Texts of one call."""
    max_batch_tokens: PositiveInt = 300_000
    """Tokens of all texts of one call."""


class Chunking(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a document is divided into the pieces that are found."""

    characters: PositiveInt = 1_000
    """The most characters of a chunk."""
    overlap: int = 100
    """Characters that a chunk has in common with the one before."""


class Memory(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is remembered of conversations, for requests that name one."""

    top_k: PositiveInt = 4
    """Earlier turns that are put before the model at most."""
    min_score: Share = 0.25
    """Turns with a lower similarity to the question are left out."""
    budget_tokens: PositiveInt = 1_000
    """The most tokens of all turns together."""
    max_turns_per_user: PositiveInt = 10_000
    """At the limit the oldest turns are forgotten."""


class Store(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where chunks and vectors are."""

    kind: Literal["lancedb", "postgres"] = "lancedb"
    location: str = ".penstock/index"
    """For lancedb a directory, or the URL of an object store (`s3://bucket/path`)."""
    url_env: str = "PENSTOCK_INDEX_URL"
    """For postgres, the environment variable with the URL of the database."""


class Retrieval(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings of the indexer, and of requests with passages."""

    store: Store = field(default_factory=Store)
    embedding_model: str | None = None
    """The embedding model of new collections; None: the first of the chain of the role `embed`."""
    dimensions: PositiveInt | None = None
    """Of the vectors of new collections; None: those of the model."""
    chunking: Chunking = field(default_factory=Chunking)
    max_document_bytes: PositiveInt = 64 * 1024 * 1024
    wait_s: Positive = 10.0
    """How long a worker waits for passages."""
    index_timeout_s: Positive = 3_600.0
    """The deadline of an index request without one of its own, in seconds after it was sent."""
    slots: PositiveInt = 4
    """Index requests that one indexer works on at once."""
    memory: Memory = field(default_factory=Memory)


def read_retrieval(data: dict[str, Any], report: ProblemReport) -> dict[str, Any]:
    """Report a section without a value, which YAML reads as null."""
    if "retrieval" in data and data["retrieval"] is None:
        report.add("retrieval", "is empty", "write retrieval: {} for the defaults, or remove the key")
    return data


def check_retrieval(section: object, report: ProblemReport) -> None:
    """Report every mistake in the values that could be read."""
    chunking = getattr(section, "chunking", None)
    characters, overlap = getattr(chunking, "characters", None), getattr(chunking, "overlap", None)
    if isinstance(characters, int) and characters < _MIN_CHUNK:
        problem = f"is less than {_MIN_CHUNK}: such chunks say too little"
        report.add("retrieval.chunking.characters", problem, "write about 1000")
    if isinstance(overlap, int) and isinstance(characters, int) and not 0 <= overlap * 2 <= characters:
        problem = "is not between 0 and half of characters"
        report.add("retrieval.chunking.overlap", problem, "write about a tenth of characters")


def retrieval_missing(what: str, catalogue: str) -> str:
    """Why `what` is not served: the catalogue of this name has no section `retrieval`."""
    return (
        f"{what}: the catalogue {catalogue} has no section retrieval; add `retrieval: {{}}` and a model with a "
        "section embedding, and start an indexer (`penstock up` does)"
    )
