"""The dialect of OpenAI's chat completions: bodies pass as received, and answers get our id and the model's name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Raw, Struct

from penstock.contract.reply import Completed, Delta, Started, Usage
from penstock.contract.retrieval.search import Rag
from services.edge.dialects.chat_assembly import assembled_choices
from services.edge.dialects.dialect import (
    AnswerError,
    ChatCall,
    InvalidField,
    ModelName,
    SseEvent,
    retrieval_fields,
)
from services.edge.dialects.misplaced_options import RETRIEVAL
from services.edge.dialects.rag_options import rag_of_json
from services.edge.dialects.request_json import check, decode

__all__ = ["ChatCompletionRequest", "ChatDialect", "ChatStream"]

_RAG: Final = "rag"
_DONE: Final = SseEvent(b"[DONE]")
_TYPES: Final = {
    401: "authentication_error",
    402: "insufficient_quota",
    403: "permission_error",
    429: "rate_limit_error",
}
"""Error types by status; below 500 the others are `invalid_request_error`, from 500 on `server_error`."""

_encode: Final = msgspec.json.Encoder().encode


class _StreamOptions(Struct, frozen=True):
    include_usage: bool | None = None


class _Message(Struct, gc=False):
    """In OpenAI's shape. The edge reads nothing of it."""


_MESSAGE: Final = {
    "required": ["role"],
    "properties": {
        "role": {"enum": ["system", "developer", "user", "assistant", "tool", "function"]},
        "content": {"anyOf": [{"type": ["string", "null"]}, {"type": "array", "items": {"type": "object"}}]},
    },
}
"""What the router checks in a message."""


class ChatCompletionRequest(Struct, frozen=True):
    """The fields that the gateway reads. All others pass to the provider as received."""

    model: ModelName
    messages: Annotated[
        list[Annotated[_Message, Meta(extra_json_schema=_MESSAGE)]], Meta(extra_json_schema={"minItems": 1})
    ]
    stream: Annotated[bool | None, Meta(description="Whether the answer is streamed.")] = None
    stream_options: _StreamOptions | None = None
    user: Annotated[str | None, Meta(description="Your end user, for fairness.")] = None
    safety_identifier: Annotated[str | None, Meta(description="The same, where `user` is not set.")] = None
    rag: Annotated[
        Rag | str | None,
        Meta(description="Passages of a collection that are put before the model: its name, or options."),
    ] = None
    conversation: Annotated[
        str | None,
        Meta(
            description="The conversation of `user` to which the request belongs: it is remembered, and what fits of "
            "the user's earlier conversations is recalled."
        ),
    ] = None


class _ChunkChoice(Struct, frozen=True):
    index: int = 0
    finish_reason: str | None = None


_decoder: Final = msgspec.json.Decoder(ChatCompletionRequest)
_decode_choice: Final = msgspec.json.Decoder(_ChunkChoice).decode
_decode_fields: Final = msgspec.json.Decoder(dict[str, Raw]).decode


class ChatDialect:
    """A Dialect."""

    def read(self, body: bytes) -> ChatCall:
        check(body, accepted=RETRIEVAL)
        fields = decode(_decoder, body)
        if not fields.model:
            raise InvalidField("model", "model is empty: write auto or another id of GET /v1/models")
        if not fields.messages:
            raise InvalidField("messages", "messages is empty: write at least one message")
        options = fields.stream_options
        return ChatCall(
            body=Raw(body) if fields.rag is None and fields.conversation is None else _without_own(body),
            model=fields.model,
            stream=bool(fields.stream),
            include_usage=options is not None and bool(options.include_usage),
            user=fields.user or fields.safety_identifier or "",
            rag=_rag(body, fields.rag),
            conversation=fields.conversation or "",
        )

    def whole(
        self,
        answer_id: str,
        created_s: int,
        call: ChatCall,  # noqa: ARG002 - the signature is Dialect's
        completed: Completed,
    ) -> bytes:
        fields: dict[str, Any] = {
            "id": answer_id,
            "object": "chat.completion",
            "created": created_s,
            "model": completed.model,
        }
        answer = _decode_fields(completed.response)
        answer.update({name: Raw(_encode(value)) for name, value in fields.items()})
        if not bytes(answer.get("usage", b"")).startswith(b"{"):
            answer["usage"] = Raw(_encode(_usage(completed.usage)))
        answer.update({name: Raw(_encode(value)) for name, value in retrieval_fields(completed).items()})
        return _encode(answer)

    def assembled(
        self, answer_id: str, created_s: int, deltas: Iterable[Delta], completed: Completed
    ) -> bytes:
        """The body of the whole answer, where it was streamed."""
        fields: dict[str, Any] = {
            "id": answer_id,
            "object": "chat.completion",
            "created": created_s,
            "model": completed.model,
            "choices": assembled_choices(deltas, completed.finish_reason),
            "usage": _usage(completed.usage),
            **retrieval_fields(completed),
        }
        return _encode(fields)

    def stream(self, answer_id: str, created_s: int, call: ChatCall) -> ChatStream:
        return ChatStream(answer_id, created_s, include_usage=call.include_usage)

    def error(self, error: AnswerError, param: str | None = None) -> bytes:
        return _encode(_error(error, param))


class ChatStream:
    """A StreamWriter."""

    def __init__(self, answer_id: str, created_s: int, *, include_usage: bool) -> None:
        self._answer_id = answer_id
        self._created_s = created_s
        self._include_usage = include_usage
        self._tail = b',"usage":null}' if include_usage else b"}"
        self._head = b""
        self._begun = {0}
        """Indices of the choices whose role was sent."""

    def accept(self, model: str) -> list[SseEvent]:  # noqa: ARG002 - the signature is StreamWriter's
        return []

    def begin(self, started: Started) -> list[SseEvent]:
        self._head = self._head_for(started.model)
        return [self._chunk(b'{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}')]

    def delta(self, delta: Delta) -> list[SseEvent]:
        if delta.choices:  # those of many chunks, but most clients read only the first of a chunk
            return [event for choice in delta.choices for event in self._choice(choice)]
        text = _encode(delta.text)
        return [self._chunk(b'{"index":0,"delta":{"content":%s},"finish_reason":null}' % text)]

    def complete(self, completed: Completed) -> list[SseEvent]:
        # After a rescue another model may have finished the answer.
        self._head = self._head_for(completed.model)
        reason = _encode(completed.finish_reason)
        last = self._chunk(b'{"index":0,"delta":{},"finish_reason":%s}' % reason)
        if own := retrieval_fields(completed):
            last = SseEvent(b"%s,%s" % (last.data[:-1], _encode(own)[1:]))
        events = [last]
        if self._include_usage:
            events.append(SseEvent(b'%s],"usage":%s}' % (self._head, _encode(_usage(completed.usage)))))
        return [*events, _DONE]

    def fail(self, error: AnswerError) -> list[SseEvent]:
        return [SseEvent(_encode(_error(error, None)))]

    def _choice(self, raw: Raw) -> list[SseEvent]:
        """A chunk; the first of a choice above 0 comes after one with its role, which OpenAI's SDK for Node needs."""
        data = _one_line(raw)
        index = _index(data)
        if index in self._begun:
            return [self._chunk(data)]
        self._begun.add(index)
        role = b'{"index":%d,"delta":{"role":"assistant","content":""},"finish_reason":null}' % index
        return [self._chunk(role), self._chunk(data)]

    def _head_for(self, model: str) -> bytes:
        return b'{"id":%s,"object":"chat.completion.chunk","created":%d,"model":%s,"choices":[' % (
            _encode(self._answer_id),
            self._created_s,
            _encode(model),
        )

    def _chunk(self, choices: bytes) -> SseEvent:
        return SseEvent(b"%s%s]%s" % (self._head, choices, self._tail))


def _rag(body: bytes, given: Rag | str | None) -> Rag | None:
    """Raises InvalidField for an option that does not exist."""
    if not isinstance(given, Rag):
        return Rag(collection=given) if given else None
    try:
        return rag_of_json(_decode_fields(body)[_RAG])
    except ValueError as error:
        raise InvalidField(_RAG, f"rag: {error}") from error


def _without_own(body: bytes) -> Raw:
    """The body without the fields that are no part of a chat completion."""
    return Raw(_encode({name: raw for name, raw in _decode_fields(body).items() if name not in RETRIEVAL}))


def _index(choice: bytes) -> int:
    try:
        return _decode_choice(choice).index
    except (ValueError, RecursionError):  # as below
        return 0


def _one_line(choice: Raw) -> bytes:
    """The choice without line breaks, which would end the line of the event, and without the finish reason of choice
    0, which comes at the end: text of the same chunk may follow in the next delta.
    """
    data = bytes(choice).replace(b"\n", b" ").replace(b"\r", b" ")
    if b'"finish_reason"' not in data:
        return data
    try:
        read = _decode_choice(data)
        if read.index != 0 or read.finish_reason is None:
            return data
        return _encode({**_decode_fields(data), "finish_reason": None})
    except (ValueError, RecursionError):  # a provider may put other values there; they pass
        return data


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_input_tokens},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }


def _error(error: AnswerError, param: str | None) -> dict[str, Any]:
    kind = _TYPES.get(error.status) or ("server_error" if error.status >= 500 else "invalid_request_error")
    fields: dict[str, Any] = {"message": error.message, "type": kind, "param": param, "code": error.code}
    if error.categories:
        fields["categories"] = error.categories
    return {"error": fields}
