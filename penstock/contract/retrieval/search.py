"""Search in a collection: request/reply; and what a chat request says of it."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct, field

from penstock.contract.errors import ErrorCode
from penstock.contract.retrieval.documents import Metadata

__all__ = [
    "MAX_BUDGET_TOKENS",
    "MAX_TOP_K",
    "MIN_BUDGET_TOKENS",
    "Citation",
    "DocumentStatus",
    "DocumentsQuery",
    "DocumentsReport",
    "Filters",
    "Passage",
    "Rag",
    "RecalledTurns",
    "SearchAnswer",
    "SearchFailed",
    "SearchMode",
    "SearchRequest",
]

SearchMode = Literal["hybrid", "vector", "text"]
_Value = str | int | float | bool
Filters = dict[str, _Value | list[_Value]]
"""Every key must have the value, or one of the values."""
MAX_TOP_K: Final = 100
"""Passages of one search."""
MIN_BUDGET_TOKENS: Final = 50
"""Of the passages of a request: in fewer there is no room for one."""
_TopK = Annotated[int, Meta(ge=1, le=MAX_TOP_K)]
_Score = Annotated[float, Meta(ge=0, le=1)]


MAX_BUDGET_TOKENS: Final = 2_000_000
"""Of the passages of one request, or of a collection that is searched as a whole."""


class Rag(Struct, frozen=True, kw_only=True):
    """Passages of a collection that are put before the model."""

    collection: str
    mode: SearchMode = "hybrid"
    top_k: _TopK = 5
    min_score: _Score = 0.0
    """Passages with a lower score are left out."""
    filters: Filters = field(default_factory=dict)
    exclude: Filters = field(default_factory=dict)
    """Documents to which one of these applies are left out."""
    budget_tokens: Annotated[int, Meta(ge=MIN_BUDGET_TOKENS, le=MAX_BUDGET_TOKENS)] = 2_000
    """The most tokens of all passages together."""
    whole: bool = False
    """Put all documents of the collection before the model if they fit `budget_tokens`; else passages."""
    required: bool = True
    """False: the request is answered without passages if the search fails."""


class Citation(Struct, frozen=True, kw_only=True):
    """One passage that the model was given."""

    number: int
    """As the model sees it, from 1."""
    collection: str
    document: str
    chunk: str
    title: str = ""
    source: str = ""
    heading: str = ""
    """The headings above the passage, as `Guide > Installation`."""
    page: int | None = None
    """From 1; None: the document has no pages."""
    start: int = 0
    end: int = 0
    """The place as characters of the extracted text, the end exclusive."""
    score: float = 0.0
    """Similarity of question and passage: 0 to 1."""
    cited: bool = False
    """The answer refers to it, as `[1]`."""


class RecalledTurns(Struct, frozen=True, kw_only=True):
    """Turns of one conversation that the model was given."""

    conversation: str
    turns: int


class SearchRequest(Struct, frozen=True, kw_only=True, tag="search_request", tag_field="type"):
    """A question to the collection of the account that the subject names."""

    collection: str
    query: str
    mode: SearchMode = "hybrid"
    top_k: _TopK = 5
    min_score: _Score = 0.0
    filters: Filters = field(default_factory=dict)
    exclude: Filters = field(default_factory=dict)
    whole_tokens: int | None = None
    """Return all chunks in the order of the documents if they have no more tokens than this, nor than 2,000,000, and
    fit one message; None: only matches."""
    user: str = ""
    """Your end user; budgets count by it."""
    conversation: str = ""
    """Its latest turns are left out of a search in the memory of `user`, which has an empty `collection`."""
    timeout_s: float = 10.0
    """Seconds for which the sender waits."""
    v: int = 1


class Passage(Struct, frozen=True, kw_only=True):
    """One chunk that was found."""

    document: str
    chunk: str
    text: str
    title: str = ""
    source: str = ""
    heading: str = ""
    page: int | None = None
    start: int = 0
    end: int = 0
    score: float = 0.0
    tokens: int = 0
    """Estimated."""
    metadata: Metadata = field(default_factory=dict)


class SearchAnswer(Struct, frozen=True, kw_only=True, tag="search_answer", tag_field="type"):
    passages: tuple[Passage, ...]
    """The best first; in the order of the documents if they are the whole collection."""
    whole: bool = False
    model: str = ""
    """The embedding model; empty for a search by text alone."""
    took_ms: float = 0.0
    v: int = 1


class SearchFailed(Struct, frozen=True, kw_only=True, tag="search_failed", tag_field="type"):
    code: ErrorCode
    message: str
    retry_after_s: float | None = None
    v: int = 1


class DocumentsQuery(Struct, frozen=True, kw_only=True, tag="documents_query", tag_field="type"):
    """Which documents has a collection?"""

    collection: str
    prefix: str = ""
    """The ids begin with it."""
    after: str = ""
    """The ids are above it: the last id of the page before."""
    limit: Annotated[int, Meta(ge=1, le=1_000)] = 1_000
    user: str = ""
    """List the memory of this user instead; `collection` is empty then."""
    v: int = 1


class DocumentStatus(Struct, frozen=True, kw_only=True):
    id: str
    title: str = ""
    source: str = ""
    chunks: int = 0
    digest: str = ""
    """Of the content with all that is stored of it; changes with it."""
    updated_ms: int = 0


class DocumentsReport(Struct, frozen=True, kw_only=True, tag="documents_report", tag_field="type"):
    documents: tuple[DocumentStatus, ...]
    """In the order of their ids."""
    more: bool = False
    """There are further documents."""
    v: int = 1
