"""A request of Anthropic's Messages API, translated to a chat-completions body.

The shapes are those of the Python SDK `anthropic` 2.14. `cache_control` and unknown fields are ignored: coding agents
send fields of beta versions that change nothing in the translation (`context_management`, `betas`).
"""

from __future__ import annotations

import hashlib
import re
from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec
from msgspec import Meta, Raw, Struct, field

from services.edge.dialects.dialect import ChatCall, InvalidField, ModelName
from services.edge.dialects.messages_blocks import (
    BLOCK_TYPES,
    Message,
    TextBlock,
    to_chat_messages,
    to_system_text,
)
from services.edge.dialects.request_json import NULL, absent, decode, decode_fields, given

__all__ = ["CountTokensRequest", "MessagesRequest", "read_call", "read_counted", "shows_thinking"]

_LONGEST_USER: Final = 64
"""Characters that OpenAI accepts in `user`; Claude Code sends about 150."""
_MEDIUM_BUDGET, _HIGH_BUDGET = 8_192, 24_576
"""Thinking budgets in tokens from which the effort is medium and high. Claude Code's keywords set 4,000 (low),
10,000 (medium) and 31,999 (high)."""
_EFFORTS: Final = {"max": "xhigh"}
"""Efforts that chat completions name differently."""
_INDEX: Final = re.compile(r"\[\d+\]")
_TOOL_CHOICES: Final = {"auto": "auto", "any": "required", "none": "none"}
_UNSUPPORTED: Final = {
    "container": "containers run at Anthropic only; omit this field",
    "mcp_servers": "MCP servers are called by Anthropic only; connect to them in the application and send custom tools",
    "inference_geo": "the region of inference cannot be chosen here; omit this field",
}
_ALLOWED: Final = {
    **BLOCK_TYPES,
    "thinking.type": "enabled, disabled or adaptive",
    "output_config.effort": "low, medium, high, xhigh or max",
    "output_config.format.type": "json_schema",
    "tool_choice.type": "auto, any, tool or none",
}


_Number = Annotated[Raw, Meta(extra_json_schema={"type": ["number", "null"]})]
"""A number that is only passed on, and stays encoded."""


class _Tool(Struct):
    name: str = ""
    description: str | None = None
    input_schema: Raw = field(default_factory=absent)
    type: str | None = None
    strict: bool | None = None


class _ToolChoice(Struct):
    type: Literal["auto", "any", "tool", "none"]
    name: str = ""
    disable_parallel_tool_use: bool | None = None


class _ThinkingOptions(Struct):
    type: Literal["enabled", "disabled", "adaptive", "between_tools"]
    budget_tokens: int | None = None
    display: str | None = None


class _Format(Struct):
    type: Literal["json_schema"]
    schema: Raw


class _OutputConfig(Struct):
    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None
    format: _Format | None = None


class _Metadata(Struct):
    user_id: str | None = None


class CountTokensRequest(Struct, kw_only=True):
    """The fields that are understood. Other fields are ignored."""

    model: ModelName
    messages: Annotated[list[Message], Meta(extra_json_schema={"minItems": 1})]
    system: str | list[TextBlock] | None = None
    stream: Annotated[bool | None, Meta(description="Whether the message is streamed.")] = None
    temperature: _Number = field(default_factory=absent)
    top_p: _Number = field(default_factory=absent)
    top_k: _Number = field(default_factory=absent)
    stop_sequences: list[str] | None = None
    tools: list[_Tool] | None = None
    tool_choice: _ToolChoice | None = None
    thinking: _ThinkingOptions | None = None
    output_config: _OutputConfig | None = None
    metadata: _Metadata | None = None
    container: Raw = field(default_factory=absent)
    mcp_servers: Raw = field(default_factory=absent)
    inference_geo: Raw = field(default_factory=absent)


class MessagesRequest(CountTokensRequest, kw_only=True):
    """The fields that are understood. Other fields are ignored."""

    max_tokens: Annotated[int, Meta(ge=1, le=2**31 - 1)]


class _Marked(Struct):
    penstock_thinking: bool = False
    """A field of the chat body that no provider receives: the application requested thinking blocks."""


_Request = TypeVar("_Request", bound=CountTokensRequest)
_decoder: Final = msgspec.json.Decoder(MessagesRequest)
_counted_decoder: Final = msgspec.json.Decoder(CountTokensRequest)
_number_decoder: Final = msgspec.json.Decoder(float)
_encode: Final = msgspec.json.Encoder().encode
_decode_marked: Final = msgspec.json.Decoder(_Marked).decode


def read_call(body: bytes) -> ChatCall:
    """Translate a request for an answer. Raises InvalidField."""
    request = _read(body, _decoder)
    messages = _messages(request)
    if messages[-1]["role"] == "assistant":
        raise InvalidField(
            f"messages[{len(request.messages) - 1}]",
            "assistant message prefill is not supported; the conversation must end with a user message",
        )
    return ChatCall(
        body=_chat_body(request, messages, request.max_tokens),
        model=request.model,
        stream=request.stream is True,
        user=_user_id(request),
    )


def read_counted(body: bytes) -> Raw:
    """Translate a request whose tokens are counted to a chat body. Raises InvalidField."""
    request = _read(body, _counted_decoder)
    return _chat_body(request, _messages(request))


def shows_thinking(chat_body: Raw) -> bool:
    """Whether the application requested thinking blocks. One that did not reads the answer from the first block."""
    return _decode_marked(chat_body).penstock_thinking


def _read(body: bytes, decoder: msgspec.json.Decoder[_Request]) -> _Request:
    decode_fields(body)
    try:
        request = decode(decoder, body)
    except InvalidField as error:
        if allowed := _ALLOWED.get(_INDEX.sub("[]", error.field)):
            raise InvalidField(error.field, f"{error.message}; use {allowed}") from error
        raise
    if not request.model:
        raise InvalidField("model", "must be the name of a role or of a model")
    for name, problem in _UNSUPPORTED.items():
        if bytes(getattr(request, name)) not in (b"null", b"[]"):
            raise InvalidField(name, problem)
    return request


def _messages(request: CountTokensRequest) -> list[dict[str, Any]]:
    messages = to_chat_messages(request.messages)
    if not messages:
        raise InvalidField("messages", "must contain a message of the user")
    system = to_system_text(request.system or "")
    return [{"role": "system", "content": system}, *messages] if system else messages


def _chat_body(
    request: CountTokensRequest, messages: list[dict[str, Any]], max_tokens: int | None = None
) -> Raw:
    fields = given(
        model=request.model,
        messages=messages,
        max_tokens=max_tokens,
        stream=request.stream or None,
        temperature=_number("temperature", request.temperature),
        top_p=_number("top_p", request.top_p),
        top_k=_number("top_k", request.top_k),
        stop=request.stop_sequences or None,
        **_tools(request.tools or [], request.tool_choice),
        reasoning_effort=_effort(request),
        response_format=_response_format(request.output_config),
        user=_provider_user(_user_id(request)),
        penstock_thinking=_wants_thinking(request.thinking) or None,
    )
    return Raw(_encode(fields))


def _number(name: str, value: Raw) -> Raw | None:
    if value == NULL:
        return None
    decode(_number_decoder, value, name)
    return value


def _tools(tools: list[_Tool], choice: _ToolChoice | None) -> dict[str, Any]:
    if not tools:
        if choice is not None and choice.type in ("any", "tool"):
            raise InvalidField("tool_choice", "needs `tools` to choose from")
        return {}
    fields: dict[str, Any] = {"tools": [_tool(tool, f"tools[{at}]") for at, tool in enumerate(tools)]}
    if choice is None:
        return fields
    if choice.type == "tool":
        if choice.name not in {tool.name for tool in tools}:
            raise InvalidField("tool_choice.name", "must be the name of one of `tools`")
        fields["tool_choice"] = {"type": "function", "function": {"name": choice.name}}
    else:
        fields["tool_choice"] = _TOOL_CHOICES[choice.type]
    if choice.disable_parallel_tool_use:
        fields["parallel_tool_calls"] = False
    return fields


def _tool(tool: _Tool, path: str) -> dict[str, Any]:
    if tool.type not in (None, "custom"):
        raise InvalidField(
            f"{path}.type",
            f"{tool.type!r} is defined by Anthropic and has no translation; send a custom tool with an input_schema",
        )
    if not tool.name:
        raise InvalidField(f"{path}.name", "this field is required")
    if not bytes(tool.input_schema).startswith(b"{"):
        raise InvalidField(f"{path}.input_schema", "must be a JSON Schema, an object")
    function = given(
        name=tool.name, description=tool.description, parameters=tool.input_schema, strict=tool.strict
    )
    return {"type": "function", "function": function}


def _effort(request: CountTokensRequest) -> str | None:
    """The effort as stated, or else from the thinking budget; None: the default of the model."""
    thinking, config = request.thinking, request.output_config
    if thinking is not None and thinking.type == "disabled":
        return None
    if config is not None and config.effort is not None:
        return _EFFORTS.get(config.effort, config.effort)
    if thinking is None or thinking.type != "enabled":
        return None
    if thinking.budget_tokens is None:
        raise InvalidField("thinking.budget_tokens", "this field is required")
    if thinking.budget_tokens >= _HIGH_BUDGET:
        return "high"
    return "medium" if thinking.budget_tokens >= _MEDIUM_BUDGET else "low"


def _wants_thinking(thinking: _ThinkingOptions | None) -> bool:
    return thinking is not None and thinking.type != "disabled" and thinking.display != "omitted"


def _response_format(config: _OutputConfig | None) -> dict[str, Any] | None:
    if config is None or config.format is None:
        return None
    schema = {"name": "answer", "schema": config.format.schema, "strict": True}
    return {"type": "json_schema", "json_schema": schema}


def _user_id(request: CountTokensRequest) -> str:
    return (request.metadata and request.metadata.user_id) or ""


def _provider_user(user: str) -> str | None:
    if len(user) <= _LONGEST_USER:
        return user or None
    return hashlib.sha256(user.encode()).hexdigest()
