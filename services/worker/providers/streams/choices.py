"""One choice object of a chunk, judged by what it adds to the answer and not by which keys it has."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Raw, Struct, field

from services.worker.providers.errors.read_error import ProviderError, error_in, reports_success
from services.worker.providers.size_limits import NAME_CHARACTERS, clipped

__all__ = [
    "ABSENT",
    "Addition",
    "Earlier",
    "adds",
    "content_bytes",
    "error_of",
    "fields_of",
    "finish_reason_of",
    "index_of",
    "name_in",
    "read_choice",
    "says",
    "says_anything",
]

ABSENT: Final = Raw(b"null")
_NOTHING: Final = frozenset((b"null", b'""', b"[]", b"{}"))
_NAMING: Final = frozenset(("role", "index", "obfuscation"))
"""Keys of a delta that are no part of the answer. `obfuscation` hides the length of the text (OpenAI's reference,
"Create chat completion", `stream_options`)."""
_CONTENT: Final = frozenset(
    ("content", "refusal", "tool_calls", "function_call", "reasoning", "reasoning_content", "audio")
)
"""The parts of a delta that belong to the answer: none of them may follow its end."""
_READ_HERE: Final = frozenset(
    ("index", "finish_reason", "delta", "message", "text", "usage", "error", "obfuscation")
)
"""Keys of a choice that say nothing beyond what an Addition has. Moonshot puts `usage` here; Perplexity's `message`
and Together's `text` repeat what is in `delta`."""
_TAKEN: Final = frozenset(("message", "text", "usage", "error"))
"""Of these, the ones that are not passed on."""
_FILTERS: Final = "content_filter_results"
_TEXT_TYPES: Final = frozenset(("text", "output_text"))
_REASONING: Final = frozenset(("reasoning", "reasoning_content", "reasoning_details"))
"""Names under which the same reasoning may stand several times in one delta (OpenRouter)."""
_LABELS: Final = frozenset(("id", "type", "index", "format", "role", "signature"))
"""Keys whose values the model did not write."""
_NO_REASON: Final = frozenset(("", "null", "None"))

_decode_fields: Final = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_list: Final = msgspec.json.Decoder(list[Raw]).decode
_decode_any: Final = msgspec.json.Decoder().decode
_encode: Final = msgspec.json.Encoder().encode


class _Choice(Struct):
    delta: dict[str, Any] | None = None


_decode_choice: Final = msgspec.json.Decoder(_Choice).decode


def content_bytes(choice: Raw) -> int:
    """How many bytes of a choice object, as it is passed on, the model wrote: text, reasoning and arguments of tools,
    without the keys and figures around them. Output that a provider does not count is estimated from these.
    """
    try:
        delta = _decode_choice(choice).delta or {}
    except (ValueError, RecursionError):
        return 0
    reasoning = max((_written(delta[name]) for name in _REASONING & delta.keys()), default=0)
    return reasoning + sum(_written(delta[name]) for name in (_CONTENT - _REASONING) & delta.keys())


def _written(value: Any) -> int:
    if isinstance(value, str):
        return len(value) if value.isascii() else len(value.encode(errors="replace"))
    if isinstance(value, list):
        return sum(map(_written, value))
    if isinstance(value, dict):
        return sum(_written(each) for name, each in value.items() if name not in _LABELS)
    return 0


class Earlier(Struct):
    """What earlier chunks said of each choice, by its index."""

    only: bool = False
    """One choice was asked for: the first that comes is choice 0, whatever its index says."""
    first: int | None = None
    """Its index, where `only`."""

    spoken: set[int] = field(default_factory=set)
    """A delta had content: a later `message` in its place repeats the answer as a whole, as MiniMax sends it."""
    messages: set[int] = field(default_factory=set)
    """A `message` or `text` in the place of a delta had content."""
    filters: dict[int, Raw] = field(default_factory=dict)
    """The latest `content_filter_results`: a state, which Azure repeats on every chunk."""


class Addition(Struct):
    """What one choice object adds."""

    index: int
    text: str
    """Of choice 0; the text of any other choice stays in `choice`."""
    choice: Raw | None
    """The choice without `text`; None: nothing else is in it."""
    finish_reason: str
    """Empty: none yet."""
    has_content: bool
    usage: Raw
    error: Raw


def fields_of(raw: Raw | bytes) -> dict[str, Raw] | None:
    """The keys of a JSON object; None for any other value. Raises ValueError or RecursionError for what is no JSON."""
    try:
        return _decode_fields(raw)
    except msgspec.ValidationError:
        return None


def says(raw: Raw) -> bool:
    """Whether the value is neither null nor empty."""
    return bytes(raw) not in _NOTHING


def adds(raw: Raw) -> bool:
    """Whether the value holds anything that is neither null nor empty, at any depth."""
    data = bytes(raw)
    return data not in _NOTHING and (data[0] not in b"[{" or says_anything(_decode_any(data)))


def says_anything(value: Any) -> bool:
    """The same of a decoded value."""
    if isinstance(value, dict):
        return any(map(says_anything, value.values()))
    if isinstance(value, list):
        return any(map(says_anything, value))
    return value is not None and value != ""


def error_of(raw: Raw) -> ProviderError | None:
    """The error that the value of an `error` key stands for."""
    if not says(raw):
        return None
    value = _decode_any(raw)
    if not value or not says_anything(value):
        return None
    error = error_in(value)
    return None if error is None and reports_success(value) else error or ProviderError(message=str(value))


def read_choice(raw: Raw, position: int, earlier: Earlier) -> Addition | None:
    """None for an empty one. Raises ValueError or RecursionError for what is no choice."""
    fields = fields_of(raw)
    if fields is None and adds(raw):
        raise ValueError("a choice that is not an object")
    if not fields:
        return None
    stated = index_of(fields["index"], position) if "index" in fields else position
    index = _index(stated, earlier)
    _check_place_of_content(fields, raw, is_new=index not in earlier.spoken | earlier.messages)
    delta, is_own = _delta(fields, spoken=index in earlier.spoken)
    saying = {name for name, value in delta.items() if name not in _NAMING and adds(value)}
    has_content = not saying.isdisjoint(_CONTENT)
    if has_content:
        (earlier.spoken if is_own else earlier.messages).add(index)
    text, rest = ("", delta) if index or "content" not in saying else _without_text(delta)
    if rest is not delta and "content" not in rest:
        saying.discard("content")
    reason = finish_reason_of(fields["finish_reason"]) if "finish_reason" in fields else ""
    # Only of choice 0 does an event of ours tell the finish reason.
    if _says_more_beside(fields, index, earlier) or saying or (index and reason):
        is_own = is_own and rest is delta and index == stated and fields.keys().isdisjoint(_TAKEN)
        choice = raw if is_own else _with_delta(index, fields, rest)
    else:
        choice = None
    usage, error = fields.get("usage", ABSENT), fields.get("error", ABSENT)
    return Addition(index, text, choice, reason, has_content, usage, error)


def _index(stated: int, earlier: Earlier) -> int:
    """Where one choice was asked for, the index of the first that came and 0 change places."""
    if not earlier.only:
        return stated
    if earlier.first is None:
        earlier.first = stated
    return {earlier.first: 0, 0: earlier.first}.get(stated, stated)


def _check_place_of_content(fields: dict[str, Raw], raw: Raw, *, is_new: bool) -> None:
    """Raises ValueError for content elsewhere than in the delta or what stands in its place, and for none at all in
    the place of a whole message.
    """
    if "delta" in fields or "text" in fields:
        return
    if "message" not in fields:
        if b'"content"' in bytes(raw):
            raise ValueError("content outside of a delta")
    elif is_new and fields["message"] == ABSENT and says(fields.get("finish_reason", ABSENT)):
        raise ValueError("a choice that is finished and has no message")


def _delta(fields: dict[str, Raw], *, spoken: bool) -> tuple[dict[str, Raw], bool]:
    """The delta and True; or what stands in its place, the message of a whole answer or the text of a completion."""
    raw, is_own = fields.get("delta", ABSENT), True
    if "message" in fields and not spoken and not adds(raw):
        raw, is_own = fields["message"], False
    delta = fields_of(raw) if raw is not ABSENT else {}
    if delta is None:
        if adds(raw):
            raise ValueError("a delta that is not an object")
        delta = {}
    if raw is ABSENT and "text" in fields:
        return {"content": fields["text"]}, False
    return delta, is_own


def _without_text(delta: dict[str, Raw]) -> tuple[str, dict[str, Raw]]:
    content = delta["content"]
    rest = {name: value for name, value in delta.items() if name != "content"}
    kind = bytes(content)[:1]
    if kind == b'"':
        return str(_decode_any(content)), rest
    if kind not in b"[{":
        raise ValueError("content that is neither text nor parts")
    texts: list[str] = []
    others: list[Raw] = []
    for part in _decode_list(content) if kind == b"[" else [content]:
        text, other = _part(part)
        texts.append(text)
        if adds(other):
            others.append(other)
    if others:
        rest["content"] = Raw(_encode(others))
    text = "".join(texts)
    return text, rest if text else delta


def _part(raw: Raw) -> tuple[str, Raw]:
    """The text of a content part, and what else it has: all of it, if it is not one of text."""
    fields = fields_of(raw)
    if fields is None:
        is_text = bytes(raw)[:1] == b'"'
        return (str(_decode_any(raw)), ABSENT) if is_text else ("", raw)
    kind, text = _decode_any(fields.get("type", ABSENT)), fields.get("text", ABSENT)
    if not (kind is None or (isinstance(kind, str) and kind in _TEXT_TYPES)) or bytes(text)[:1] != b'"':
        return "", raw
    rest = {name: value for name, value in fields.items() if name not in {"type", "text", "index"}}
    more = any(map(adds, rest.values()))
    return str(_decode_any(text)), Raw(_encode({**rest, "type": "text"})) if more else ABSENT


def _says_more_beside(fields: dict[str, Raw], index: int, earlier: Earlier) -> bool:
    more = False
    for name, value in fields.items():
        if name == _FILTERS:
            more = more or (earlier.filters.get(index, ABSENT) != value and adds(value))
            earlier.filters[index] = value
        elif name not in _READ_HERE:
            more = more or adds(value)
    return more


def _with_delta(index: int, fields: dict[str, Raw], delta: dict[str, Raw]) -> Raw:
    others = {name: value for name, value in fields.items() if name not in _READ_HERE}
    reason = fields.get("finish_reason", ABSENT)
    return Raw(_encode({"index": index, "delta": delta, **others, "finish_reason": reason}))


def index_of(raw: Raw, position: int) -> int:
    """As a number or as its digits; a choice that has none is the one of its position."""
    value: Any = 0 if bytes(raw) == b"0" else _decode_any(raw)
    if value is None:
        return position
    if isinstance(value, str | float):
        value = int(value) if isinstance(value, float) or value.isdecimal() else None
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError("a choice whose index is no number")
    return value


def finish_reason_of(raw: Raw) -> str:
    if not adds(raw):
        return ""
    reason = _decode_any(raw)
    if not isinstance(reason, str) or len(reason) > NAME_CHARACTERS:
        raise ValueError("a finish_reason that is no word")
    return "" if reason in _NO_REASON else reason


def name_in(raw: Raw) -> str | None:
    """An id or the name of a model, clipped; None for what is no text."""
    value = _decode_any(raw) if says(raw) else None
    return clipped(value) if isinstance(value, str) else None
