"""The bodies of responses, for the OpenAPI document only: the edge makes them in the dialects, jobs and listing.

Each struct names the fields on which a client may rely; a response may have further ones.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from penstock.contract.guard.places import LeftOut
from penstock.contract.jobs import JobState
from penstock.contract.retrieval.search import Citation, RecalledTurns
from services.edge.dialects.responses_object import Status

__all__ = [
    "ChatCompletion",
    "EmbeddingList",
    "ErrorResponse",
    "Health",
    "InputTokens",
    "Job",
    "JobList",
    "Message",
    "MessagesErrorResponse",
    "Model",
    "ModelList",
    "Moderation",
    "Readiness",
    "Response",
    "ServerSentEvent",
]

_Citations = Annotated[
    list[Citation] | UnsetType,
    Meta(
        description="Only with `rag`: the passages that the model was given, and which of them the text cites."
    ),
]
_Recalled = Annotated[
    list[RecalledTurns] | UnsetType,
    Meta(
        description="Only with `conversation`: how many earlier turns of the user the model was given, by conversation."
    ),
]
_LeftOut = Annotated[
    list[LeftOut] | UnsetType,
    Meta(
        description="Only with `rag` or `conversation`: passages and earlier turns that the safety guard kept from the "
        "model."
    ),
]
_UnixSeconds = Annotated[int, Meta(description="Unix seconds.")]


class _TokenCounts(Struct):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class ChatCompletion(Struct):
    """A whole chat completion, in OpenAI's shape. Fields of the provider's answer pass unchanged."""

    id: Annotated[str, Meta(description="With it the answer can be read again for 15 minutes.")]
    object: Literal["chat.completion"]
    created: _UnixSeconds
    model: Annotated[str, Meta(description="The model that answered.")]
    choices: list[dict[str, Any]]
    usage: dict[str, Any]
    citations: _Citations = UNSET
    recalled: _Recalled = UNSET
    left_out: _LeftOut = UNSET


class Response(Struct):
    """A response, in OpenAI's shape."""

    id: Annotated[
        str,
        Meta(
            description="With it the response can be read again for 15 minutes, a background response for 48 hours."
        ),
    ]
    object: Literal["response"]
    created_at: _UnixSeconds
    completed_at: int | None
    status: Status
    error: dict[str, Any] | None
    incomplete_details: dict[str, Any] | None
    model: Annotated[str, Meta(description="The model that answered.")]
    output: list[dict[str, Any]]
    usage: dict[str, Any] | None
    citations: _Citations = UNSET
    recalled: _Recalled = UNSET
    left_out: _LeftOut = UNSET


class Message(Struct):
    """A message, in Anthropic's shape."""

    id: str
    type: Literal["message"]
    role: Literal["assistant"]
    model: Annotated[str, Meta(description="The model that answered.")]
    content: list[dict[str, Any]]
    stop_reason: str | None
    stop_sequence: str | None
    usage: dict[str, Any]
    citations: _Citations = UNSET
    recalled: _Recalled = UNSET
    left_out: _LeftOut = UNSET


class ServerSentEvent(Struct):
    """One server-sent event. There may be comments between events, while the request waits."""

    data: Annotated[str, Meta(description="One line of JSON, or `[DONE]`.")]
    id: Annotated[str | UnsetType, Meta(description="Its position; a ping has none.")] = UNSET
    event: str | UnsetType = UNSET


class InputTokens(Struct):
    """An estimate; no model is called."""

    input_tokens: int


class _ModelFacts(Struct):
    kind: Literal["role", "model"]
    available: Annotated[bool, Meta(description="A worker that is alive serves it.")]
    requests: Annotated[Literal["chat", "embed"], Meta(description="`embed`: for `/v1/embeddings` only.")]
    context_tokens: int
    vision: bool


class Model(Struct):
    """What the field `model` of a request may name."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    penstock: _ModelFacts


class ModelList(Struct):
    object: Literal["list"]
    data: list[Model]


_Categories = Annotated[
    list[str] | UnsetType,
    Meta(
        description="Only with the code `blocked`: why the safety guard blocked the request or its answer, as "
        "`personal_data/email`."
    ),
]


class _JobError(Struct):
    code: str
    message: str
    categories: _Categories = UNSET


class _JobAttempt(Struct):
    model: str
    kind: str
    status: Annotated[int | None, Meta(description="Of HTTP; null: the provider did not answer.")]


class Job(Struct):
    """The status of a job. One that no router has read yet has `id`, `object` and `state` only."""

    id: str
    object: Literal["job"]
    state: JobState
    role: str | UnsetType = UNSET
    model: Annotated[str | UnsetType | None, Meta(description="That of the last attempt.")] = UNSET
    user: str | UnsetType | None = UNSET
    attempts: int | UnsetType = UNSET
    submitted_at: _UnixSeconds | UnsetType = UNSET
    changed_at: _UnixSeconds | UnsetType = UNSET
    deadline_at: int | UnsetType | None = UNSET
    finish_reason: str | UnsetType | None = UNSET
    usage: _TokenCounts | UnsetType | None = UNSET
    cost_microusd: Annotated[
        int | UnsetType | None,
        Meta(description="Millionths of a US dollar; null: tokens of a model without a price were used."),
    ] = UNSET
    last_failure: Annotated[
        _JobAttempt | UnsetType | None,
        Meta(description="Of a running or completed job: the last attempt that failed; null: none did."),
    ] = UNSET
    error: _JobError | UnsetType | None = UNSET


class JobList(Struct):
    object: Literal["list"]
    data: list[Job]
    first_id: str | None
    last_id: Annotated[str | None, Meta(description="The value of `after` for the next page.")]
    has_more: bool


class _Embedding(Struct):
    object: Literal["embedding"]
    index: Annotated[int, Meta(description="Of the text, from 0.")]
    embedding: Annotated[list[float] | str, Meta(description="Numbers, or with `base64` a text.")]


class _EmbeddingUsage(Struct):
    prompt_tokens: int
    total_tokens: int


class EmbeddingList(Struct):
    """Vectors, in OpenAI's shape."""

    object: Literal["list"]
    data: list[_Embedding]
    model: Annotated[str, Meta(description="The model that answered.")]
    usage: Annotated[
        _EmbeddingUsage, Meta(description="Of the texts that a provider embedded for this request.")
    ]


class _Finding(Struct):
    category: str
    kind: Annotated[str | None, Meta(description="Of a secret or of personal data, as `email`.")]
    detector: str
    score: float
    part: Annotated[int, Meta(description="Index of the part of the input; 0 for a text.")]
    start: int
    end: Annotated[int, Meta(description="Exclusive, in characters; 0: the whole text.")]


class _OwnFindings(Struct):
    """What else the guard found. It does not count in `flagged`."""

    categories: Annotated[dict[str, bool], Meta(description="Secrets, personal data, prompt injection.")]
    category_scores: dict[str, float]
    findings: Annotated[list[_Finding], Meta(description="Of all categories.")]


class _ModerationResult(Struct):
    flagged: Annotated[bool, Meta(description="Whether one of `categories` is true.")]
    categories: Annotated[dict[str, bool], Meta(description="OpenAI's omni categories.")]
    category_scores: dict[str, float]
    category_applied_input_types: dict[str, list[Literal["text"]]]
    penstock: _OwnFindings


class _Unchecked(Struct):
    detector: str
    why: str


class _ModerationFacts(Struct):
    unchecked: Annotated[list[_Unchecked], Meta(description="Detectors that did not check every text.")]


class Moderation(Struct):
    """Ratings in OpenAI's shape."""

    id: str
    model: str
    results: list[_ModerationResult]
    penstock: _ModerationFacts | UnsetType = UNSET


class Health(Struct):
    status: Literal["ok"]


class Readiness(Struct):
    status: Literal["ready", "not ready"]
    missing: Annotated[list[str], Meta(description="Why a request that comes now cannot be answered.")]


class _Error(Struct):
    message: Annotated[str, Meta(description="What happened, and what to do.")]
    type: str
    param: Annotated[str | None, Meta(description="The field or header.")]
    code: str
    categories: _Categories = UNSET


class ErrorResponse(Struct):
    """An error in OpenAI's shape."""

    error: _Error


class _ErrorDetails(Struct):
    error_code: str
    categories: _Categories = UNSET


class _MessagesError(Struct):
    type: str
    message: Annotated[str, Meta(description="What happened, and what to do.")]
    details: _ErrorDetails


class MessagesErrorResponse(Struct):
    """An error in Anthropic's shape."""

    type: Literal["error"]
    error: _MessagesError
