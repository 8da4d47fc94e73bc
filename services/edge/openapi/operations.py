"""The operations of the HTTP interface. `app.py` adds each of them to the routes, with its endpoint."""

from __future__ import annotations

from typing import Annotated, Any, Final

from msgspec import Meta

from penstock.contract.errors import ERRORS
from services.edge.answers.limit_headers import LIMIT_HEADERS
from services.edge.answers.reply_facts import REPLY_HEADERS
from services.edge.dialects.chat import ChatCompletionRequest
from services.edge.dialects.dialect import LimitHeaderStyle
from services.edge.dialects.messages_request import CountTokensRequest, MessagesRequest
from services.edge.dialects.responses_request import ResponsesRequest
from services.edge.embeddings.request import EmbeddingsRequest
from services.edge.http.operation import AnyErrorCode, Operation, OperationResponse
from services.edge.moderation.request import ModerationRequest
from services.edge.openapi import bodies, parameters

__all__ = [
    "CANCEL_JOB",
    "CANCEL_RESPONSE",
    "COUNT_TOKENS",
    "CREATE_CHAT_COMPLETION",
    "CREATE_EMBEDDINGS",
    "CREATE_MESSAGE",
    "CREATE_MODERATION",
    "CREATE_RESPONSE",
    "GET_CHAT_COMPLETION",
    "GET_DOCUMENT",
    "GET_HEALTH",
    "GET_JOB",
    "GET_JOB_RESULT",
    "GET_METRICS",
    "GET_MODEL",
    "GET_PAGE",
    "GET_READINESS",
    "GET_RESPONSE",
    "LIST_JOBS",
    "LIST_MODELS",
    "SUBMIT_JOB",
]

_JSON: Final = "application/json"
_EVENTS: Final = "text/event-stream"

_REPLY: Final[tuple[AnyErrorCode, ...]] = (*ERRORS, "shutting_down")
"""How a request on the bus may end without an answer."""
_GENERATION: Final[tuple[AnyErrorCode, ...]] = (
    *_REPLY,
    "not_allowed",
    "answer_gone",
    "idempotency_key_reused",
)
_READ_AGAIN: Final[tuple[AnyErrorCode, ...]] = (*_REPLY, "not_found", "restarted")
_JOB: Final[tuple[AnyErrorCode, ...]] = ("not_found",)


def _events(description: str) -> Any:
    return Annotated[
        bodies.ServerSentEvent, Meta(description=f"Each of the server-sent events. {description}")
    ]


_CHAT_EVENTS: Final = _events("Chunks of OpenAI's shape, and `[DONE]` after a complete answer only.")
_RESPONSE_EVENTS: Final = _events("Those of OpenAI's Responses API.")
_MESSAGE_EVENTS: Final = _events("Those of Anthropic's Messages API.")
_ALL_READ: Final = OperationResponse(status=204, description="The client has every event of the stream.")


def _answered(whole: type, events: Any, limits: LimitHeaderStyle = "openai") -> OperationResponse:
    return OperationResponse(
        description="The answer, whole or as a stream.",
        content={_JSON: whole, _EVENTS: events},
        headers=(*REPLY_HEADERS, *LIMIT_HEADERS[limits], "idempotent-replayed"),
    )


def _json(
    kind: type, description: str, status: int = 200, headers: tuple[str, ...] = ()
) -> OperationResponse:
    return OperationResponse(status=status, description=description, content={_JSON: kind}, headers=headers)


_CHAT: Final = "Chat completions"
CREATE_CHAT_COMPLETION: Final = Operation(
    method="POST",
    path="/v1/chat/completions",
    id="createChatCompletion",
    group=_CHAT,
    summary="Answer a conversation, whole or as a stream",
    body=ChatCompletionRequest,
    parameters=parameters.GENERATION,
    responses=(_answered(bodies.ChatCompletion, _CHAT_EVENTS),),
    errors=_GENERATION,
)
GET_CHAT_COMPLETION: Final = Operation(
    method="GET",
    path="/v1/chat/completions/{id}",
    id="getChatCompletion",
    group=_CHAT,
    summary="Read an answer again, or the rest of a stream",
    parameters=(parameters.ANSWER_ID, *parameters.RESUME, parameters.STREAM_AGAIN),
    responses=(_answered(bodies.ChatCompletion, _CHAT_EVENTS), _ALL_READ),
    errors=_READ_AGAIN,
)

_RESPONSES: Final = "Responses"
CREATE_RESPONSE: Final = Operation(
    method="POST",
    path="/v1/responses",
    id="createResponse",
    group=_RESPONSES,
    summary="Answer in the shape of OpenAI's Responses API, whole or as a stream",
    body=ResponsesRequest,
    unknown_fields="refused",
    parameters=parameters.GENERATION,
    responses=(_answered(bodies.Response, _RESPONSE_EVENTS),),
    errors=_GENERATION,
)
GET_RESPONSE: Final = Operation(
    method="GET",
    path="/v1/responses/{id}",
    id="getResponse",
    group=_RESPONSES,
    summary="Read a response again, or the rest of its stream",
    description="Without `stream=true` it is sent when the response has ended; one in the background at once.",
    parameters=(parameters.ANSWER_ID, parameters.STREAM_AGAIN, *parameters.RESUME),
    responses=(_answered(bodies.Response, _RESPONSE_EVENTS), _ALL_READ),
    errors=(*_READ_AGAIN, "job_not_ended", "result_gone"),
)
CANCEL_RESPONSE: Final = Operation(
    method="POST",
    path="/v1/responses/{id}/cancel",
    id="cancelResponse",
    group=_RESPONSES,
    summary="End a response",
    parameters=(parameters.ANSWER_ID,),
    responses=(
        _json(
            bodies.Response, "The response: `cancelled`, unless it had ended.", headers=tuple(REPLY_HEADERS)
        ),
    ),
    errors=(*_READ_AGAIN, "job_not_ended", "result_gone"),
)

_MESSAGES: Final = "Messages"
CREATE_MESSAGE: Final = Operation(
    method="POST",
    path="/v1/messages",
    id="createMessage",
    group=_MESSAGES,
    summary="Answer in the shape of Anthropic's Messages API, whole or as a stream",
    body=MessagesRequest,
    unknown_fields="ignored",
    parameters=parameters.GENERATION,
    responses=(_answered(bodies.Message, _MESSAGE_EVENTS, "anthropic"),),
    errors=_GENERATION,
)
COUNT_TOKENS: Final = Operation(
    method="POST",
    path="/v1/messages/count_tokens",
    id="countTokens",
    group=_MESSAGES,
    summary="Estimate the input tokens of a message",
    body=CountTokensRequest,
    unknown_fields="ignored",
    responses=(_json(bodies.InputTokens, "The estimate."),),
)

_JOBS: Final = "Jobs"
SUBMIT_JOB: Final = Operation(
    method="POST",
    path="/v1/jobs",
    id="submitJob",
    group=_JOBS,
    summary="Submit a chat completion of the batch lane",
    description="The body is that of a chat completion, without `stream`.",
    body=ChatCompletionRequest,
    parameters=parameters.JOB_SUBMISSION,
    responses=(_json(bodies.Job, "The job is stored.", 202, headers=("location", "idempotent-replayed")),),
    errors=_GENERATION,
)
LIST_JOBS: Final = Operation(
    method="GET",
    path="/v1/jobs",
    id="listJobs",
    group=_JOBS,
    summary="List the jobs of the account, newest first",
    parameters=parameters.LIST_JOBS,
    responses=(_json(bodies.JobList, "A page of jobs."),),
)
GET_JOB: Final = Operation(
    method="GET",
    path="/v1/jobs/{id}",
    id="getJob",
    group=_JOBS,
    summary="Read the status of a job",
    parameters=(parameters.JOB_ID,),
    responses=(_json(bodies.Job, "The job."),),
    errors=_JOB,
)
GET_JOB_RESULT: Final = Operation(
    method="GET",
    path="/v1/jobs/{id}/result",
    id="getJobResult",
    group=_JOBS,
    summary="Read the answer of a completed job",
    description="For a failed job, the error with its status.",
    parameters=(parameters.JOB_ID,),
    responses=(_json(bodies.ChatCompletion, "The answer."),),
    errors=(*_JOB, *ERRORS, "job_not_ended", "result_gone"),
)
CANCEL_JOB: Final = Operation(
    method="POST",
    path="/v1/jobs/{id}/cancel",
    id="cancelJob",
    group=_JOBS,
    summary="Cancel a job",
    parameters=(parameters.JOB_ID,),
    responses=(
        _json(bodies.Job, "The job has ended before."),
        _json(bodies.Job, "The job will end as failed, with the code `cancelled`.", 202),
    ),
    errors=_JOB,
)

_MODELS: Final = "Models"
LIST_MODELS: Final = Operation(
    method="GET",
    path="/v1/models",
    id="listModels",
    group=_MODELS,
    summary="List what the field `model` may name",
    responses=(_json(bodies.ModelList, "Those that the key allows."),),
)
GET_MODEL: Final = Operation(
    method="GET",
    path="/v1/models/{id...}",
    id="getModel",
    group=_MODELS,
    summary="Read one entry of the list",
    parameters=(parameters.MODEL_NAME,),
    responses=(_json(bodies.Model, "The entry."),),
    errors=("not_allowed", "model_not_found"),
)

CREATE_EMBEDDINGS: Final = Operation(
    method="POST",
    path="/v1/embeddings",
    id="createEmbeddings",
    group="Embeddings",
    summary="Make the vectors of texts",
    description="A text whose vector is stored costs nothing, and `usage` does not count it.",
    body=EmbeddingsRequest,
    unknown_fields="ignored",
    parameters=parameters.EMBEDDINGS,
    responses=(
        _json(
            bodies.EmbeddingList,
            "The vectors, in the order of the texts.",
            headers=(*REPLY_HEADERS, *LIMIT_HEADERS["openai"], "idempotent-replayed"),
        ),
    ),
    errors=_GENERATION,
)
CREATE_MODERATION: Final = Operation(
    method="POST",
    path="/v1/moderations",
    id="createModeration",
    group="Moderation",
    summary="Rate texts for harmful content",
    description="Answered by the detectors of the safety guard, where the catalogue enables one for harmful content. "
    "The policy of the account is not applied. Images are refused.",
    body=ModerationRequest,
    unknown_fields="ignored",
    responses=(_json(bodies.Moderation, "A result for each input, in OpenAI's shape."),),
    errors=("not_allowed", "not_implemented", "guard_unavailable", "shutting_down"),
)

_OPERATION: Final = "Operation"
GET_HEALTH: Final = Operation(
    method="GET",
    path="/healthz",
    id="getHealth",
    group=_OPERATION,
    summary="Whether this process is alive",
    needs_key=False,
    waits_for_nats=False,
    responses=(_json(bodies.Health, "It is."),),
)
GET_READINESS: Final = Operation(
    method="GET",
    path="/readyz",
    id="getReadiness",
    group=_OPERATION,
    summary="Whether a request that comes now can be answered",
    needs_key=False,
    waits_for_nats=False,
    responses=(_json(bodies.Readiness, "It can."), _json(bodies.Readiness, "It cannot.", 503)),
)
GET_METRICS: Final = Operation(
    method="GET",
    path="/metrics",
    id="getMetrics",
    group=_OPERATION,
    summary="Metrics for Prometheus",
    needs_key=False,
    waits_for_nats=False,
    responses=(
        OperationResponse(description="In the text format of Prometheus.", content={"text/plain": str}),
    ),
)
GET_DOCUMENT: Final = Operation(
    method="GET",
    path="/openapi.json",
    id="getOpenapiDocument",
    group=_OPERATION,
    summary="This description as an OpenAPI document",
    needs_key=False,
    responses=(_json(dict, "OpenAPI 3.1."),),
)
GET_PAGE: Final = Operation(
    method="GET",
    path="/docs",
    id="getDocs",
    group=_OPERATION,
    summary="This description as a page",
    needs_key=False,
    responses=(OperationResponse(description="HTML without scripts.", content={"text/html": str}),),
)
