"""The request of the Responses dialect, as a chat-completions body.

The edge stores no conversations: `store` has no effect without `background`. Fields that refer to stored objects are
refused, as are those that only OpenAI's own tools give a meaning.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Raw, Struct, field

from services.edge.dialects.dialect import ChatCall, InvalidField, ModelName
from services.edge.dialects.request_json import NULL, absent, decode, decode_fields, given
from services.edge.dialects.responses_input import chat_messages
from services.edge.dialects.responses_object import REPEATED
from services.edge.dialects.responses_tools import ToolChoice, tool_options

__all__ = ["ResponsesCall", "ResponsesRequest", "read_request"]

_NOT_STORED: Final = "send the whole conversation in input, because responses are not stored"
_UNSUPPORTED: Final = {
    "previous_response_id": _NOT_STORED,
    "conversation": _NOT_STORED,
    "prompt": "write the text of the template in instructions and input",
    "context_management": "shorten input before it is sent",
    "moderation": "leave it out",
    "access_programs": "leave it out",
    "image": "leave it out",
}
"""Fields that cannot be translated, and what to do instead."""
_MOVED: Final = {
    "messages": "input",
    "max_tokens": "max_output_tokens",
    "max_completion_tokens": "max_output_tokens",
    "response_format": "text.format",
    "reasoning_effort": "reasoning.effort",
    "verbosity": "text.verbosity",
    "logprobs": "include with message.output_text.logprobs",
    "functions": "tools",
    "function_call": "tool_choice",
}
"""Fields of chat completions, and their names in a Responses request."""
_SAME_IN_CHAT: Final = (
    "temperature",
    "top_p",
    "user",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "service_tier",
)
"""Fields that pass unchanged. `metadata` is not among them: it labels the response, and OpenAI refuses it in a chat
completion that is not stored ("The 'metadata' parameter is only allowed when 'store' is enabled")."""
_LOGPROBS: Final = "message.output_text.logprobs"


class ResponsesCall(ChatCall, frozen=True, kw_only=True):
    """A Responses request, translated."""

    repeated: dict[str, Raw]
    """The fields that the response repeats, as received."""


class _Kind(Struct):
    type: str


class _JsonSchema(Struct):
    name: str
    schema: dict[str, Raw]
    strict: bool | None = None
    description: str | None = None


class _Text(Struct):
    format: Raw = field(default_factory=absent)
    verbosity: str | None = None


class _Reasoning(Struct):
    effort: str | None = None
    summary: str | None = None
    context: str | None = None
    mode: str | None = None


class _StreamOptions(Struct):
    include_obfuscation: bool | None = None


class ResponsesRequest(Struct, kw_only=True):
    """The fields that are understood; those with a fixed meaning in OpenAI's service only are accepted and unused."""

    model: Annotated[ModelName, Meta(min_length=1)]
    input: Annotated[
        str | list[Raw], Meta(description="The whole conversation: conversations are not stored.")
    ]
    instructions: str | None = None
    tools: Annotated[list[Raw] | None, Meta(description="Functions.")] = None
    tool_choice: str | ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    max_tool_calls: int | None = None
    text: _Text | None = None
    reasoning: _Reasoning | None = None
    max_output_tokens: Annotated[int, Meta(ge=1, lt=2**31)] | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_logprobs: int | None = None
    include: list[str] | None = None
    truncation: str | None = None
    metadata: dict[str, str] | None = None
    client_metadata: Raw = field(default_factory=absent)
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_options: Raw = field(default_factory=absent)
    prompt_cache_retention: str | None = None
    service_tier: str | None = None
    stream: Annotated[bool | None, Meta(description="Whether the response is streamed.")] = None
    stream_options: _StreamOptions | None = None
    store: Annotated[bool | None, Meta(description="`false` is not possible with `background`.")] = None
    background: Annotated[
        bool | None, Meta(description="`true`: the response is made as a job, to be read by its id.")
    ] = None


_REQUEST: Final = msgspec.json.Decoder(ResponsesRequest)
_KIND: Final = msgspec.json.Decoder(_Kind)
_JSON_SCHEMA: Final = msgspec.json.Decoder(_JsonSchema)
_encode: Final = msgspec.json.Encoder().encode


def read_request(body: bytes) -> ResponsesCall:
    """Translate the body of a request. Raises InvalidField."""
    fields = {
        name: value for name, value in decode_fields(body, accepted=_UNSUPPORTED).items() if value != NULL
    }
    for name in fields:
        _check_known(name)
    request = decode(_REQUEST, body)
    if request.background and request.store is False:
        raise InvalidField("store", "a background response is stored: leave store out")
    if request.truncation not in {None, "disabled"}:
        raise InvalidField("truncation", "truncation must be disabled: input is never shortened")
    chat: dict[str, Any] = {
        "model": request.model,
        "messages": chat_messages(request.instructions, request.input),
        **{name: fields[name] for name in _SAME_IN_CHAT if name in fields},
        **_output_options(request),
        **tool_options(request.tools or [], request.tool_choice, parallel=request.parallel_tool_calls),
    }
    stream = request.stream is True
    if stream:
        chat["stream"] = True
    return ResponsesCall(
        body=Raw(_encode(chat)),
        model=request.model,
        stream=stream,
        include_usage=stream,  # the last event of a stream has the usage
        user=request.safety_identifier or request.user or "",
        background=request.background is True,
        repeated={name: fields[name].copy() for name in REPEATED if name in fields},
    )


def _check_known(name: str) -> None:
    if name in _UNSUPPORTED:
        raise InvalidField(name, f"{name} is not supported: {_UNSUPPORTED[name]}")
    if name not in ResponsesRequest.__struct_fields__:
        hint = f"write {_MOVED[name]}" if name in _MOVED else "leave it out"
        raise InvalidField(name[:40], f"{name[:40]} is not a field of a Responses request: {hint}")


def _output_options(request: ResponsesRequest) -> dict[str, Any]:
    reasoning, text = request.reasoning or _Reasoning(), request.text or _Text()
    if reasoning.mode not in {None, "standard"}:
        raise InvalidField("reasoning.mode", "reasoning.mode must be standard")
    if reasoning.context == "all_turns":
        raise InvalidField("reasoning.context", "reasoning.context must be auto or current_turn")
    logprobs = bool(request.top_logprobs) or _LOGPROBS in (request.include or ())
    return given(
        max_completion_tokens=request.max_output_tokens,
        reasoning_effort=reasoning.effort,
        verbosity=text.verbosity,
        response_format=_response_format(text.format),
        logprobs=logprobs or None,
        top_logprobs=request.top_logprobs or None,
    )


def _response_format(text_format: Raw) -> dict[str, Any] | None:
    if text_format == NULL:
        return None
    match decode(_KIND, text_format, "text.format").type:
        case "text":
            return None
        case "json_object":
            return {"type": "json_object"}
        case "json_schema":
            schema = decode(_JSON_SCHEMA, text_format, "text.format")
            return {"type": "json_schema", "json_schema": given(**msgspec.structs.asdict(schema))}
    raise InvalidField("text.format.type", "text.format.type must be text, json_object or json_schema")
