"""The chunks of an OpenAI-compatible chat stream, read without losing and without inventing content.

A chunk is read by what it adds to the answer. A typed decoder reads the usual chunks: text, and keys that add nothing
to it. Every other chunk is read field by field (`choices`), which is slower and accepts any keys.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec import Raw, Struct

from penstock.runtime.config.catalogue import StreamFormat
from services.worker.providers.errors.read_error import error_in
from services.worker.providers.errors.wire_errors import (
    NO_DONE_HINT,
    NO_FINISH_REASON_HINT,
    REPEATED_FINISH_REASON_HINT,
    SINGLE_NEWLINE_HINT,
    BrokenStream,
    MalformedChunk,
    ProviderErrorEvent,
)
from services.worker.providers.json_repair import REPLACEMENT, PendingSurrogates, repair_json
from services.worker.providers.raw_json import (
    ABSENT,
    decode_any,
    decode_list,
    fields_of,
    has_data,
    is_set,
    name_of,
    value_has_data,
)
from services.worker.providers.size_limits import clip_name
from services.worker.providers.streams.choices import (
    ChoiceDelta,
    ChoiceHistory,
    NonTextChunk,
    TextChunk,
    check_finish_reason,
    decode_non_text,
    decode_raw,
    decode_text,
    error_of,
    read_choice,
)
from services.worker.providers.usage import TokenCounts, read_usage

__all__ = ["DEFAULT_FINISH_REASON", "ChunkDelta", "ChunkReader", "StreamEnd", "missing_choices"]

_DEFAULT: Final = StreamFormat()
DEFAULT_FINISH_REASON: Final = "stop"
"""The finish reason of an answer from a provider that sends none (`finish_reason: optional`)."""
_ENVELOPE: Final = frozenset(
    (
        "id",
        "object",
        "created",
        "model",
        "system_fingerprint",
        "service_tier",
        "provider",
        "choices",
        "obfuscation",
    )
)
"""Keys of a chunk that cannot describe an error."""
_KEEPALIVE: Final = frozenset(("ping", "keepalive", "keep-alive", "heartbeat"))
"""The `type`, or the whole data, of a keep-alive event: Anthropic's `ping`; the others are comments that some proxies
send as data (`data: : keepalive`).
"""
_STRAY_BYTES: Final = 64
"""Limit of a text event, such as `[done]` or `bye`, that is ignored after the end of all choices."""


class ChunkDelta(Struct, frozen=True, gc=False):
    """The content that one chunk adds to the answer: the text of choice 0, and choice objects without that text."""

    text: str
    choices: tuple[Raw, ...] = ()
    """These precede the text."""


class StreamEnd(Struct, frozen=True, kw_only=True):
    """The result of a complete stream."""

    finish_reason: str | None
    """The finish reason of choice 0; None if only other choices were sent, or the provider sends none."""
    finish_reasons: dict[int, str]
    model: str | None
    usage: TokenCounts | None
    response_id: str | None
    rest: str = ""
    """Text of choice 0 that was held back for the second half of its last character."""


class ChunkReader:
    """Reads the chunks of one stream, in order."""

    __slots__ = (
        "_every",
        "_format",
        "_history",
        "_requested",
        "_seen",
        "_settled",
        "_surrogates",
        "_with_delta",
        "finish_reasons",
        "model",
        "response_id",
        "usage",
    )

    def __init__(self, stream_format: StreamFormat = _DEFAULT, choices: int | None = None) -> None:
        """`choices`: the number of requested choices; None if unknown."""
        self.finish_reasons: dict[int, str] = {}
        self.model: str | None = None
        self.usage: TokenCounts | None = None
        self.response_id: str | None = None
        self._format = stream_format
        self._every = stream_format.finish_reason == "every"
        self._requested = choices
        self._history = ChoiceHistory(single=choices == 1)
        self._with_delta = self._history.with_delta
        self._seen: set[int] = set()
        self._surrogates: PendingSurrogates = {}
        self._settled = False  # id and model are known, and no half of a character is pending

    def read(self, payload: bytes) -> ChunkDelta | None:
        """The content of the chunk; None for a chunk without any (only a role, a finish reason or usage).

        A finish reason beside anything but text is in the returned choice object as well as in `finish_reasons`.
        Raises MalformedChunk, ProviderErrorEvent for an error that the provider reports, and BrokenStream for content
        after the finish reason of its choice.
        """
        try:
            chunk = decode_text(payload)
        except (ValueError, RecursionError):
            return self._read_non_text(payload)
        if (
            not self._settled
            or (chunk.usage is not ABSENT and chunk.usage != ABSENT)
            or chunk.x_groq is not None
        ):
            if self._surrogates or self._history.first_index:
                return self._read_fields(payload)
            self._record_chunk(chunk)
        if not chunk.choices:
            return None
        choice = chunk.choices[0]
        filters = choice.content_filter_results
        if filters is not ABSENT and filters != self._history.filters.get(0):
            return self._read_fields(payload)
        text = choice.delta.content
        if not text:
            self._seen.add(0)
        elif 0 in self.finish_reasons and not self._every:
            raise _content_after_end(0)
        else:
            self._with_delta.add(0)
        if choice.finish_reason:
            self._record_finish_reason(0, choice.finish_reason)
        return ChunkDelta(text) if text else None

    def end(self, done: bool, *, framed: bool = False) -> StreamEnd:  # noqa: FBT001 - `done` names the parameter
        """Check the stream after the last byte of a body that ended cleanly.

        `done`: `[DONE]` was received; `framed`: the body had a length or was chunked, so truncation is detected by
        HTTP. Raises ProviderErrorEvent for a finish reason that reports a failure; BrokenStream unless there was a
        choice, every choice seen has a finish reason, and the end is proved as the stream format defines (D6).
        """
        for reason in self.finish_reasons.values():
            check_finish_reason(reason)
        if not done and self._format.done == "required":
            raise BrokenStream(f"the stream ended without [DONE]{NO_DONE_HINT}")
        seen = self._seen | self._with_delta
        if not seen:
            raise BrokenStream("the stream ended without a single choice")
        if missing := missing_choices(len(seen), self._requested, proved=done or framed):
            raise BrokenStream(f"the stream ended {missing}")
        unfinished = self._unfinished()
        if unfinished and self._format.finish_reason != "optional":
            hint = NO_FINISH_REASON_HINT if done or framed else ""
            raise BrokenStream(
                f"no finish_reason was received for choice {', '.join(map(str, unfinished))}{hint}"
            )
        if not (done or framed) and self._format.finish_reason != "last":
            raise BrokenStream(
                "the stream ended without [DONE], and nothing else proves its end: finish_reason is "
                f"{self._format.finish_reason!r} in the catalogue, and the HTTP body has neither a length nor chunks"
            )
        return StreamEnd(
            finish_reason=self.finish_reasons.get(0),
            finish_reasons=dict(self.finish_reasons),
            model=self.model,
            usage=self.usage,
            response_id=self.response_id,
            rest=REPLACEMENT if any(map(_is_text_of_choice_0, self._surrogates)) else "",
        )

    def _read_non_text(self, payload: bytes) -> ChunkDelta | None:
        """Pass reasoning or tool calls on unchanged; read the chunk by its fields if it holds anything else."""
        try:
            chunk = decode_non_text(payload)
            choice = chunk.choices[0]
            delta = choice.delta
            if (
                self._surrogates
                or (0 in self.finish_reasons and not self._every)
                or choice.finish_reason is not None
                or choice.content_filter_results is not ABSENT
                or not (
                    has_data(delta.reasoning)
                    or has_data(delta.reasoning_content)
                    or _has_tool_calls(delta.tool_calls)
                )
            ):
                return self._read_fields(payload)
            # msgspec checks UTF-8 only in decoded values; these bytes are passed on undecoded.
            payload.decode()
            choices = tuple(decode_raw(payload).choices)
        except (ValueError, RecursionError):
            return self._read_fields(payload)
        self._record_chunk(chunk)
        self._with_delta.add(0)
        return ChunkDelta("", choices)

    def _read_fields(self, payload: bytes) -> ChunkDelta | None:
        if not payload or payload.isspace():
            return None
        try:
            if not self._surrogates:
                return self._read_value(payload)
        except (ValueError, RecursionError):
            pass  # the repaired payload may be valid
        self._settled = False
        try:
            return self._read_value(repair_json(payload, self._surrogates))
        except (ValueError, RecursionError) as error:
            if self._is_stray(payload):
                return None
            hint = SINGLE_NEWLINE_HINT if _is_several_values(payload) else ""
            raise MalformedChunk(f"not a chat completion chunk: {error}{hint}") from error

    def _is_stray(self, payload: bytes) -> bool:
        """Whether a text event in the place of a chunk can be ignored without losing content."""
        text = payload.strip().lstrip(b": ").lower()
        if text.decode(errors="replace") in _KEEPALIVE:
            return True
        ended = self.finish_reasons and not self._every and not self._unfinished()
        return bool(ended) and len(text) <= _STRAY_BYTES and text.isascii() and b"}" not in text

    def _unfinished(self) -> list[int]:
        return sorted((self._seen | self._with_delta) - self.finish_reasons.keys())

    def _read_value(self, payload: bytes) -> ChunkDelta | None:
        fields = fields_of(payload)
        if fields is None:
            _check_value(decode_any(payload))
            return None
        # msgspec checks UTF-8 only in decoded values; these bytes are passed on undecoded.
        payload.decode()
        if "error" in fields and (error := error_of(fields["error"])):
            raise ProviderErrorEvent(error)
        self._record_fields(fields)
        choices = fields.get("choices", ABSENT)
        if not is_set(choices):
            _check_for_error(fields, payload)
            return None
        text = ""
        others: list[Raw] = []
        for position, raw in enumerate(decode_list(choices)):
            delta = read_choice(raw, position, self._history)
            if delta is None:
                continue
            self._record_choice(delta)
            text += delta.text
            if delta.choice is not None:
                others.append(delta.choice)
        return ChunkDelta(text, tuple(others)) if text or others else None

    def _record_choice(self, delta: ChoiceDelta) -> None:
        if delta.error is not ABSENT and (error := error_of(delta.error)):
            raise ProviderErrorEvent(error)
        index = delta.index
        self._seen.add(index)
        if delta.has_content and index in self.finish_reasons and not self._every:
            raise _content_after_end(index)
        if delta.finish_reason:
            self._record_finish_reason(index, delta.finish_reason)
        self._record_usage(delta.usage)

    def _record_finish_reason(self, index: int, reason: str) -> None:
        """Keep an earlier reason other than `stop`: a proxy may add a last chunk with `stop` to an answer that was cut
        off or that failed.
        """
        if self.finish_reasons.get(index, DEFAULT_FINISH_REASON) == DEFAULT_FINISH_REASON:
            self.finish_reasons[index] = reason

    def _record_chunk(self, chunk: TextChunk | NonTextChunk) -> None:
        # Azure's first chunk has an empty id and model: the first value that is not empty counts.
        self.response_id = self.response_id or clip_name(chunk.id)
        self.model = self.model or clip_name(chunk.model)
        self._settled = (
            self.response_id is not None and self.model is not None and not self._history.first_index
        )
        self._record_usage(chunk.usage)
        if chunk.x_groq is not None:
            if error := error_of(chunk.x_groq.error):
                raise ProviderErrorEvent(error)
            self._record_usage(chunk.x_groq.usage)

    def _record_fields(self, fields: dict[str, Raw]) -> None:
        self.response_id = self.response_id or name_of(fields.get("id", ABSENT))
        self.model = self.model or name_of(fields.get("model", ABSENT))
        self._record_usage(fields.get("usage", ABSENT))
        groq = fields_of(fields["x_groq"]) if "x_groq" in fields else None
        if groq:
            if error := error_of(groq.get("error", ABSENT)):
                raise ProviderErrorEvent(error)
            self._record_usage(groq.get("usage", ABSENT))

    def _record_usage(self, usage: Raw) -> None:
        if usage is not ABSENT and usage != ABSENT and (counted := read_usage(usage)) is not None:
            self.usage = counted.merged_with(self.usage)


def _check_value(value: Any) -> None:
    """Check an event that is not an object: an empty one adds nothing, a list may describe an error."""
    if not value_has_data(value):
        return
    if isinstance(value, list) and (error := error_in(value)) is not None:
        raise ProviderErrorEvent(error)
    raise ValueError(f"{type(value).__name__} in the place of an object")


def _check_for_error(fields: dict[str, Raw], payload: bytes) -> None:
    """Check a chunk without choices: it is an error, or keeps the connection alive."""
    if b'"delta"' in payload:
        raise ValueError("a delta outside of choices")
    if (
        not fields.keys() - _ENVELOPE
        or is_set(fields.get("usage", ABSENT))
        or name_of(fields.get("type", ABSENT)) in _KEEPALIVE
    ):
        return
    if (error := error_in(decode_any(payload))) is not None:
        raise ProviderErrorEvent(error)


def missing_choices(received: int, requested: int | None, *, proved: bool) -> str:
    """A description of the choices that an answer lacks; empty if it is complete.

    Providers without support for `n` answer with one choice (Anthropic's and Ollama's OpenAI-compatible endpoints:
    their documentation, November 2026), so exactly one is complete if the end of the answer is proved.
    """
    if requested is None or received >= requested or (received == 1 and proved):
        return ""
    return f"with {received} of the {requested} requested choices"


def _is_several_values(payload: bytes) -> bool:
    """Whether the payload holds several JSON values, one on each line."""
    first, _, rest = payload.partition(b"\n")
    try:
        return bool(rest) and fields_of(first) is not None
    except (ValueError, RecursionError):
        return False


def _is_text_of_choice_0(place: tuple[Any, ...]) -> bool:
    return str(place[1]) == "0" and not {"content", "text"}.isdisjoint(place)


def _content_after_end(index: int) -> BrokenStream:
    return BrokenStream(f"choice {index} has content after its finish_reason{REPEATED_FINISH_REASON_HINT}")


def _has_tool_calls(tool_calls: Raw) -> bool:
    # Nearly all tool calls have arguments, so that most values are not decoded.
    return b'"arguments":' in bytes(tool_calls) or has_data(tool_calls)
