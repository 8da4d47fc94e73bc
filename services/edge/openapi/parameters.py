"""Parameters of operations that are not in the body."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from penstock.contract.jobs import JobState
from services.edge.http.operation import Parameter
from services.edge.requests.options import RequestOptions

__all__ = [
    "ANSWER_ID",
    "EMBEDDINGS",
    "GENERATION",
    "JOB_ID",
    "JOB_SUBMISSION",
    "LIST_JOBS",
    "MODEL_NAME",
    "RESUME",
    "STREAM_AGAIN",
]


def _text(description: str, **constraints: Any) -> Any:
    return Annotated[str, Meta(description=description, **constraints)]


_OPTIONS: Final = tuple(
    Parameter(f"x-penstock-{field.name.replace('_', '-')}", "header", field.type, field.default)
    for field in msgspec.structs.fields(RequestOptions)
)
_IDEMPOTENCY_KEY: Final = Parameter(
    "idempotency-key",
    "header",
    _text(
        "Any text. Repeated requests with it get the answer of the first one, for 15 minutes.", max_length=255
    ),
)
_TRACE: Final = Parameter("traceparent", "header", _text("The trace of the request continues this one."))

GENERATION: Final = (*_OPTIONS, _IDEMPOTENCY_KEY, _TRACE)
EMBEDDINGS: Final = tuple(
    each
    for each in GENERATION
    if each.name.removeprefix("x-penstock-") not in {"rescue", "degrade", "rag", "conversation"}
)
JOB_SUBMISSION: Final = tuple(each for each in GENERATION if each.name != "x-penstock-lane")
ANSWER_ID: Final = Parameter("id", "path", _text("The `id` of an answer."))
JOB_ID: Final = Parameter("id", "path", _text("The `id` of a job."))
MODEL_NAME: Final = Parameter("id", "path", _text("The `id` of a model; it may contain slashes."))
RESUME: Final = (
    Parameter(
        "starting_after",
        "query",
        _text("The `id` of the last event that the client has, or the number before its hyphen."),
    ),
    Parameter("last-event-id", "header", _text("The same, where `starting_after` is not set.")),
)
STREAM_AGAIN: Final = Parameter(
    "stream", "query", Annotated[bool, Meta(description="`true`: the events of a streamed response.")]
)
LIST_JOBS: Final = (
    Parameter("limit", "query", Annotated[int, Meta(ge=1, le=100, description="Jobs on a page.")], 20),
    Parameter("after", "query", _text("The `last_id` of the page before.")),
    Parameter("state", "query", Annotated[JobState, Meta(description="Only jobs in this state.")]),
    Parameter("user", "query", _text("Only jobs of this end user.")),
)
