"""The choice objects of a chunk: types for the usual ones, and a reader for the rest.

The reader decides by what a choice adds to the answer, not by which keys it has.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Generic, TypeVar

import msgspec
from msgspec import Meta, Raw, Struct, field

from penstock.contract.reply import text_bytes
from services.worker.providers.errors.read_error import ProviderError, error_in, reports_success
from services.worker.providers.errors.vocabulary import FAILURE_FINISH_REASONS
from services.worker.providers.errors.wire_errors import ProviderErrorEvent
from services.worker.providers.raw_json import (
    ABSENT,
    decode_any,
    decode_list,
    fields_of,
    has_data,
    is_set,
    value_has_data,
)
from services.worker.providers.size_limits import NAME_CHARACTERS, Name

__all__ = [
    "ChoiceDelta",
    "ChoiceHistory",
    "NonTextChunk",
    "TextChunk",
    "check_finish_reason",
    "content_bytes",
    "decode_non_text",
    "decode_raw",
    "decode_text",
    "error_of",
    "finish_reason_of",
    "index_of",
    "read_choice",
]

_IGNORED_IN_DELTA: Final = frozenset(("role", "index", "obfuscation"))
"""Keys of a delta that are not part of the answer. `obfuscation` hides the length of the text (OpenAI's reference,
"Create chat completion", `stream_options`)."""
_CONTENT: Final = frozenset(
    ("content", "refusal", "tool_calls", "function_call", "reasoning", "reasoning_content", "audio")
)
"""Keys of a delta that carry the answer: none of them may follow the finish reason."""
_KNOWN: Final = frozenset(
    ("index", "finish_reason", "delta", "message", "text", "usage", "error", "obfuscation")
)
"""Keys of a choice that add nothing beyond the fields of a ChoiceDelta. Moonshot sends `usage` here; Perplexity's
`message` and Together's `text` repeat the content of `delta`."""
_NOT_PASSED_ON: Final = frozenset(("message", "text", "usage", "error"))
"""The known keys that are removed from the choice."""
_FILTERS: Final = "content_filter_results"
_TEXT_TYPES: Final = frozenset(("text", "output_text"))
_REASONING: Final = frozenset(("reasoning", "reasoning_content", "reasoning_details"))
"""Names under which OpenRouter repeats the same reasoning in one delta."""
_LABELS: Final = frozenset(("id", "type", "index", "format", "role", "signature"))
"""Keys whose values are not written by the model."""
_NO_REASON: Final = frozenset(("", "null", "None"))

_encode: Final = msgspec.json.Encoder().encode

_EmptyList = Annotated[list[Any], Meta(max_length=0)] | None
_EmptyText = Annotated[str, Meta(max_length=0)] | None
_Delta = TypeVar("_Delta")
_Choices = TypeVar("_Choices")


class _TextDelta(Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    content: str | None = None
    role: str | None = None
    # Keys that servers send empty beside text. A value in one of them, like an unknown key, needs the reader.
    reasoning: _EmptyText = None
    reasoning_content: _EmptyText = None
    reasoning_details: _EmptyList = None
    tool_calls: _EmptyList = None
    refusal: _EmptyText = None
    function_call: None = None
    audio: None = None
    annotations: _EmptyList = None
    images: _EmptyList = None


class _NonTextDelta(Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """Reasoning or tool calls."""

    content: _EmptyText = None
    role: str | None = None
    reasoning: Raw = ABSENT
    reasoning_content: Raw = ABSENT
    tool_calls: Raw = ABSENT
    reasoning_details: Raw = ABSENT
    refusal: _EmptyText = None
    function_call: None = None
    audio: None = None


class _Choice(Struct, Generic[_Delta], frozen=True, gc=False, forbid_unknown_fields=True):
    delta: _Delta
    index: Annotated[int, Meta(ge=0, le=0)] = 0
    finish_reason: Name | None = None
    logprobs: None = None
    native_finish_reason: None = None
    content_filter_results: Raw = ABSENT
    stop_reason: None = None
    token_ids: None = None
    matched_stop: None = None


class _Groq(Struct, frozen=True, gc=False):
    usage: Raw = ABSENT
    error: Raw = ABSENT


class _Chunk(Struct, Generic[_Choices], frozen=True, gc=False):
    choices: _Choices
    id: str | None = None
    model: str | None = None
    usage: Raw = ABSENT
    x_groq: _Groq | None = None
    error: None = None


class _RawChunk(Struct, frozen=True, gc=False):
    choices: list[Raw]


TextChunk = _Chunk[Annotated[list[_Choice[_TextDelta]], Meta(max_length=1)]]
NonTextChunk = _Chunk[Annotated[list[_Choice[_NonTextDelta]], Meta(min_length=1, max_length=1)]]
decode_text: Final = msgspec.json.Decoder(TextChunk).decode
decode_non_text: Final = msgspec.json.Decoder(NonTextChunk).decode
decode_raw: Final = msgspec.json.Decoder(_RawChunk).decode


class _AnyDelta(Struct):
    delta: dict[str, Any] | None = None


_decode_delta: Final = msgspec.json.Decoder(_AnyDelta).decode


def content_bytes(choice: Raw) -> int:
    """The number of bytes in a choice object that the model wrote: text, reasoning and tool arguments without keys.

    The output of a provider that reports no usage is estimated from it.
    """
    try:
        delta = _decode_delta(choice).delta or {}
    except (ValueError, RecursionError):
        return 0
    reasoning = max((_text_bytes(delta[name]) for name in _REASONING & delta.keys()), default=0)
    return reasoning + sum(_text_bytes(delta[name]) for name in (_CONTENT - _REASONING) & delta.keys())


def _text_bytes(value: Any) -> int:
    if isinstance(value, str):
        return text_bytes(value)
    if isinstance(value, list):
        return sum(map(_text_bytes, value))
    if isinstance(value, dict):
        return sum(_text_bytes(each) for name, each in value.items() if name not in _LABELS)
    return 0


class ChoiceHistory(Struct):
    """The state of each choice after the chunks read so far, by its index."""

    single: bool = False
    """One choice was requested: the first that arrives is choice 0, whatever its index says."""
    first_index: int | None = None
    """The index of that first choice, if `single`."""

    with_delta: set[int] = field(default_factory=set)
    """Choices with content in a delta: a later `message` repeats the whole answer, as MiniMax sends it."""
    with_message: set[int] = field(default_factory=set)
    """Choices with content in a `message` or `text` instead of a delta."""
    filters: dict[int, Raw] = field(default_factory=dict)
    """The latest `content_filter_results`: Azure repeats this state on every chunk."""


class ChoiceDelta(Struct):
    """The parts of the answer that one choice object adds."""

    index: int
    text: str
    """The text of choice 0; the text of any other choice stays in `choice`."""
    choice: Raw | None
    """The choice without `text`; None if it holds nothing else."""
    finish_reason: str
    """Empty while the choice is unfinished."""
    has_content: bool
    usage: Raw
    error: Raw


def error_of(raw: Raw) -> ProviderError | None:
    """The error that the value of an `error` key describes."""
    if not is_set(raw):
        return None
    value = decode_any(raw)
    if not value or not value_has_data(value):
        return None
    error = error_in(value)
    return None if error is None and reports_success(value) else error or ProviderError(message=str(value))


def read_choice(raw: Raw, position: int, history: ChoiceHistory) -> ChoiceDelta | None:
    """None for an empty choice. Raises ValueError or RecursionError for a value that is not a choice."""
    fields = fields_of(raw)
    if fields is None and has_data(raw):
        raise ValueError("a choice that is not an object")
    if not fields:
        return None
    stated = index_of(fields["index"], position) if "index" in fields else position
    index = _assigned_index(stated, history)
    _check_content_place(fields, raw, is_new=index not in history.with_delta | history.with_message)
    delta, from_delta = _delta(fields, has_delta=index in history.with_delta)
    added = {name for name, value in delta.items() if name not in _IGNORED_IN_DELTA and has_data(value)}
    has_content = not added.isdisjoint(_CONTENT)
    if has_content:
        (history.with_delta if from_delta else history.with_message).add(index)
    text, rest = ("", delta) if index or "content" not in added else _take_text(delta)
    if rest is not delta and "content" not in rest:
        added.discard("content")
    reason = finish_reason_of(fields["finish_reason"]) if "finish_reason" in fields else ""
    # The final event of a reply has the finish reason of choice 0 only; those of other choices pass in the choice.
    if _adds_other_keys(fields, index, history) or added or (index and reason):
        unchanged = (
            from_delta and rest is delta and index == stated and fields.keys().isdisjoint(_NOT_PASSED_ON)
        )
        choice = raw if unchanged else _with_delta(index, fields, rest)
    else:
        choice = None
    usage, error = fields.get("usage", ABSENT), fields.get("error", ABSENT)
    return ChoiceDelta(index, text, choice, reason, has_content, usage, error)


def _assigned_index(stated: int, history: ChoiceHistory) -> int:
    """For a request of one choice, the index of the first that arrived and 0 are exchanged."""
    if not history.single:
        return stated
    if history.first_index is None:
        history.first_index = stated
    return {history.first_index: 0, 0: history.first_index}.get(stated, stated)


def _check_content_place(fields: dict[str, Raw], raw: Raw, *, is_new: bool) -> None:
    """Raises ValueError for content outside of `delta`, `message` and `text`, and for a finished choice whose message
    is null.
    """
    if "delta" in fields or "text" in fields:
        return
    if "message" not in fields:
        if b'"content"' in bytes(raw):
            raise ValueError("content outside of a delta")
    elif is_new and fields["message"] == ABSENT and is_set(fields.get("finish_reason", ABSENT)):
        raise ValueError("a finished choice without a message")


def _delta(fields: dict[str, Raw], *, has_delta: bool) -> tuple[dict[str, Raw], bool]:
    """The delta and True; or, with False, the message of a whole completion or the text of a legacy completion."""
    raw, from_delta = fields.get("delta", ABSENT), True
    if "message" in fields and not has_delta and not has_data(raw):
        raw, from_delta = fields["message"], False
    delta = fields_of(raw) if raw is not ABSENT else {}
    if delta is None:
        if has_data(raw):
            raise ValueError("a delta that is not an object")
        delta = {}
    if raw is ABSENT and "text" in fields:
        return {"content": fields["text"]}, False
    return delta, from_delta


def _take_text(delta: dict[str, Raw]) -> tuple[str, dict[str, Raw]]:
    """The text of the delta's content, and the delta without it."""
    content = delta["content"]
    rest = {name: value for name, value in delta.items() if name != "content"}
    kind = bytes(content)[:1]
    if kind == b'"':
        return str(decode_any(content)), rest
    if kind not in b"[{":
        raise ValueError("content that is neither text nor parts")
    texts: list[str] = []
    others: list[Raw] = []
    for part in decode_list(content) if kind == b"[" else [content]:
        text, other = _text_of_part(part)
        texts.append(text)
        if has_data(other):
            others.append(other)
    if others:
        rest["content"] = Raw(_encode(others))
    text = "".join(texts)
    return text, rest if text else delta


def _text_of_part(raw: Raw) -> tuple[str, Raw]:
    """The text of a content part, and the rest of the part: all of it if its type is not text."""
    fields = fields_of(raw)
    if fields is None:
        is_text = bytes(raw)[:1] == b'"'
        return (str(decode_any(raw)), ABSENT) if is_text else ("", raw)
    kind, text = decode_any(fields.get("type", ABSENT)), fields.get("text", ABSENT)
    if not (kind is None or (isinstance(kind, str) and kind in _TEXT_TYPES)) or bytes(text)[:1] != b'"':
        return "", raw
    rest = {name: value for name, value in fields.items() if name not in {"type", "text", "index"}}
    more = any(map(has_data, rest.values()))
    return str(decode_any(text)), Raw(_encode({**rest, "type": "text"})) if more else ABSENT


def _adds_other_keys(fields: dict[str, Raw], index: int, history: ChoiceHistory) -> bool:
    """Whether the choice has data beside its known keys. A content filter counts when it differs from the last."""
    more = False
    for name, value in fields.items():
        if name == _FILTERS:
            more = more or (history.filters.get(index, ABSENT) != value and has_data(value))
            history.filters[index] = value
        elif name not in _KNOWN:
            more = more or has_data(value)
    return more


def _with_delta(index: int, fields: dict[str, Raw], delta: dict[str, Raw]) -> Raw:
    others = {name: value for name, value in fields.items() if name not in _KNOWN}
    reason = fields.get("finish_reason", ABSENT)
    return Raw(_encode({"index": index, "delta": delta, **others, "finish_reason": reason}))


def index_of(raw: Raw, position: int) -> int:
    """The index as a number or as its digits; `position` if it is null."""
    value: Any = 0 if bytes(raw) == b"0" else decode_any(raw)
    if value is None:
        return position
    if isinstance(value, str | float):
        value = int(value) if isinstance(value, float) or value.isdecimal() else None
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError("a choice whose index is not a number")
    return value


def finish_reason_of(raw: Raw) -> str:
    """The finish reason, or an empty text for none. Raises ValueError for a value that is not a short text."""
    if not has_data(raw):
        return ""
    reason = decode_any(raw)
    if not isinstance(reason, str) or len(reason) > NAME_CHARACTERS:
        raise ValueError("a finish_reason that is not a short text")
    return "" if reason in _NO_REASON else reason


def check_finish_reason(reason: str) -> None:
    """Raises ProviderErrorEvent for a finish reason that reports a failure."""
    name = reason.partition(":")[0].strip().lower().replace("-", "_")
    if name in FAILURE_FINISH_REASONS:
        message = "the provider ended the answer with this finish_reason"
        raise ProviderErrorEvent(ProviderError(code=reason, message=message, codes=(name,)))
