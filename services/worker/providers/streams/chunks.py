"""The chunks of an OpenAI-compatible chat stream, read so that nothing is lost and nothing is made up.

A chunk is judged by what it adds to the answer. What nearly all chunks are, text and keys that add nothing to it, is
read by one typed decoder; everything else takes `choices`, which is slower and accepts whatever keys there are.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
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
from services.worker.providers.lenient_json import REPLACEMENT, Halves, mended
from services.worker.providers.size_limits import clipped
from services.worker.providers.streams.choices import (
    ABSENT,
    Addition,
    Earlier,
    adds,
    error_of,
    fields_of,
    name_in,
    read_choice,
    says,
    says_anything,
)
from services.worker.providers.streams.chunk_shapes import (
    ApartChunk,
    PlainChunk,
    decode_apart,
    decode_plain,
    decode_raw,
)
from services.worker.providers.usage import NO_USAGE, TokenCounts, read_usage

__all__ = [
    "DEFAULT_FINISH_REASON",
    "BrokenStream",
    "ChunkDelta",
    "ChunkReader",
    "MalformedChunk",
    "ProviderErrorEvent",
    "StreamEnd",
    "too_few",
]

_DEFAULT: Final = StreamFormat()
DEFAULT_FINISH_REASON: Final = "stop"
"""The finish reason of an answer without one, of a provider that is known to leave it out."""
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
"""Keys of a chunk that say nothing of an error."""
_ALIVE: Final = frozenset(("ping", "keepalive", "keep-alive", "heartbeat"))
"""The `type`, or the whole data, of an event that only says that the connection lives: Anthropic's `ping`; the others
are what servers write into comments, and some proxies put into data (`data: : keepalive`).
"""
_STRAY_BYTES: Final = 64
"""Of an event of words behind the end of all choices, such as `[done]` or `bye`."""


class ChunkDelta(Struct, frozen=True, gc=False):
    """What one chunk adds to the answer: the text of choice 0, and choice objects without that text."""

    text: str
    choices: tuple[Raw, ...] = ()
    """They belong before the text."""


class StreamEnd(Struct, frozen=True, kw_only=True):
    """The verdict on a complete stream."""

    finish_reason: str | None
    """Of choice 0; None if only other choices were asked for and sent, or the provider says none."""
    finish_reasons: dict[int, str]
    model: str | None
    usage: TokenCounts | None
    response_id: str | None
    rest: str = ""
    """Text of choice 0 that was held back because its other half might still come."""


_decode_list: Final = msgspec.json.Decoder(list[Raw]).decode
_decode_any: Final = msgspec.json.Decoder().decode


class ChunkReader:
    """Reads the chunks of one stream, in order."""

    __slots__ = (
        "_asked",
        "_earlier",
        "_every",
        "_format",
        "_halves",
        "_seen",
        "_settled",
        "_spoken",
        "finish_reasons",
        "model",
        "response_id",
        "usage",
    )

    def __init__(self, stream_format: StreamFormat = _DEFAULT, choices: int | None = None) -> None:
        """`choices`: how many were asked for; None: that is not known."""
        self.finish_reasons: dict[int, str] = {}
        self.model: str | None = None
        self.usage: TokenCounts | None = None
        self.response_id: str | None = None
        self._format = stream_format
        self._every = stream_format.finish_reason == "every"
        self._asked = choices
        self._earlier = Earlier(only=choices == 1)
        self._spoken = self._earlier.spoken
        self._seen: set[int] = set()
        self._halves: Halves = {}
        self._settled = False  # id and model are known, and no half of a character is

    def read(self, payload: bytes) -> ChunkDelta | None:
        """What the chunk adds to the answer; None if nothing (role alone, finish reason alone, usage).

        A finish reason that stands beside anything but text is in the returned choice object as well as in
        `finish_reasons`. Raises MalformedChunk, ProviderErrorEvent for an error the provider reports, and
        BrokenStream for a choice that goes on after it was finished.
        """
        try:
            chunk = decode_plain(payload)
        except (ValueError, RecursionError):
            return self._read_apart(payload)
        if (
            not self._settled
            or (chunk.usage is not NO_USAGE and chunk.usage != NO_USAGE)
            or chunk.x_groq is not None
        ):
            if self._halves or self._earlier.first:
                return self._read_other(payload)
            self._note(chunk)
        if not chunk.choices:
            return None
        choice = chunk.choices[0]
        filters = choice.content_filter_results
        if filters is not ABSENT and filters != self._earlier.filters.get(0):
            return self._read_other(payload)
        text = choice.delta.content
        if not text:
            self._seen.add(0)
        elif 0 in self.finish_reasons and not self._every:
            raise _goes_on(0)
        else:
            self._spoken.add(0)
        if choice.finish_reason:
            self._finish(0, choice.finish_reason)
        return ChunkDelta(text) if text else None

    def end(self, done: bool, *, framed: bool = False) -> StreamEnd:  # noqa: FBT001 - whether the mark of the end came
        """Judge the stream after the last byte of a body that ended cleanly.

        `done`: `[DONE]` came; `framed`: the body had a length or was chunked, so that a cut would have been noticed.
        Raises BrokenStream unless there was a choice, every choice seen has its finish reason, and the end is proved
        in the way of the stream's format (REQUIREMENTS D6).
        """
        if not done and self._format.done == "required":
            raise BrokenStream(f"the stream ended without [DONE]{NO_DONE_HINT}")
        seen = self._seen | self._spoken
        if not seen:
            raise BrokenStream("the stream ended without a single choice")
        if lacking := too_few(len(seen), self._asked, proved=done or framed):
            raise BrokenStream(f"the stream ended {lacking}")
        unfinished = self._unfinished()
        if unfinished and self._format.finish_reason != "optional":
            hint = NO_FINISH_REASON_HINT if done or framed else ""
            raise BrokenStream(f"no finish_reason came for choice {', '.join(map(str, unfinished))}{hint}")
        if "error" in self.finish_reasons.values():
            raise BrokenStream("the provider finished a choice with finish_reason 'error'")
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
            rest=REPLACEMENT if any(map(_is_text_of_choice_0, self._halves)) else "",
        )

    def _read_apart(self, payload: bytes) -> ChunkDelta | None:
        """Reasoning or tool calls alone, untouched; with anything beside them it is read as any other chunk."""
        try:
            chunk = decode_apart(payload)
            delta = chunk.choices[0].delta
            goes_on = 0 in self.finish_reasons and not self._every
            if (
                self._halves
                or goes_on
                or not (adds(delta.reasoning) or adds(delta.reasoning_content) or _calls(delta.tool_calls))
            ):
                return self._read_other(payload)
            # msgspec checks UTF-8 only in what it decodes; these bytes are passed on as they are.
            payload.decode()
            choices = tuple(decode_raw(payload).choices)
        except (ValueError, RecursionError):
            return self._read_other(payload)
        self._note(chunk)
        self._spoken.add(0)
        return ChunkDelta("", choices)

    def _read_other(self, payload: bytes) -> ChunkDelta | None:
        if not payload or payload.isspace():
            return None
        try:
            if not self._halves:
                return self._read_value(payload)
        except (ValueError, RecursionError):
            pass  # whatever it is, it may be read when it is mended
        self._settled = False
        try:
            return self._read_value(mended(payload, self._halves))
        except (ValueError, RecursionError) as error:
            if self._is_stray(payload):
                return None
            hint = SINGLE_NEWLINE_HINT if _is_several(payload) else ""
            raise MalformedChunk(f"not a chat completion chunk: {error}{hint}") from error

    def _is_stray(self, payload: bytes) -> bool:
        """Whether words in the place of a chunk take nothing away from the answer."""
        words = payload.strip().lstrip(b": ").lower()
        if words.decode(errors="replace") in _ALIVE:
            return True
        ended = self.finish_reasons and not self._every and not self._unfinished()
        return bool(ended) and len(words) <= _STRAY_BYTES and words.isascii() and b"}" not in words

    def _unfinished(self) -> list[int]:
        return sorted((self._seen | self._spoken) - self.finish_reasons.keys())

    def _read_value(self, payload: bytes) -> ChunkDelta | None:
        fields = fields_of(payload)
        if fields is None:
            _check_value(_decode_any(payload))
            return None
        # msgspec checks UTF-8 only in what it decodes; these bytes are passed on as they are.
        payload.decode()
        if "error" in fields and (error := error_of(fields["error"])):
            raise ProviderErrorEvent(error)
        self._note_fields(fields)
        choices = fields.get("choices", ABSENT)
        if not says(choices):
            _check_for_error(fields, payload)
            return None
        text = ""
        others: list[Raw] = []
        for position, raw in enumerate(_decode_list(choices)):
            addition = read_choice(raw, position, self._earlier)
            if addition is None:
                continue
            self._take(addition)
            text += addition.text
            if addition.choice is not None:
                others.append(addition.choice)
        return ChunkDelta(text, tuple(others)) if text or others else None

    def _take(self, addition: Addition) -> None:
        if addition.error is not ABSENT and (error := error_of(addition.error)):
            raise ProviderErrorEvent(error)
        index = addition.index
        self._seen.add(index)
        if addition.has_content and index in self.finish_reasons and not self._every:
            raise _goes_on(index)
        if addition.finish_reason:
            self._finish(index, addition.finish_reason)
        self._count(addition.usage)

    def _finish(self, index: int, reason: str) -> None:
        self.finish_reasons[index] = reason

    def _note(self, chunk: PlainChunk | ApartChunk) -> None:
        # Azure's first chunk has an empty id and model: the first that says something counts.
        self.response_id = self.response_id or clipped(chunk.id)
        self.model = self.model or clipped(chunk.model)
        self._settled = self.response_id is not None and self.model is not None and not self._earlier.first
        self._count(chunk.usage)
        if chunk.x_groq is not None:
            if error := error_of(chunk.x_groq.error):
                raise ProviderErrorEvent(error)
            self._count(chunk.x_groq.usage)

    def _note_fields(self, fields: dict[str, Raw]) -> None:
        self.response_id = self.response_id or name_in(fields.get("id", ABSENT))
        self.model = self.model or name_in(fields.get("model", ABSENT))
        self._count(fields.get("usage", ABSENT))
        groq = fields_of(fields["x_groq"]) if "x_groq" in fields else None
        if groq:
            if error := error_of(groq.get("error", ABSENT)):
                raise ProviderErrorEvent(error)
            self._count(groq.get("usage", ABSENT))

    def _count(self, usage: Raw) -> None:
        if usage is not NO_USAGE and usage != NO_USAGE and (counted := read_usage(usage)) is not None:
            self.usage = counted.after(self.usage)


def _check_value(value: Any) -> None:
    """An event that is no object: `null` and what is empty add nothing, a list may tell of an error."""
    if not says_anything(value):
        return
    if isinstance(value, list) and (error := error_in(value)) is not None:
        raise ProviderErrorEvent(error)
    raise ValueError(f"{type(value).__name__} in the place of an object")


def _check_for_error(fields: dict[str, Raw], payload: bytes) -> None:
    """A chunk without choices is an error, or else something that keeps the connection alive."""
    if b'"delta"' in payload:
        raise ValueError("a delta outside of choices")
    if (
        not fields.keys() - _ENVELOPE
        or says(fields.get("usage", ABSENT))
        or name_in(fields.get("type", ABSENT)) in _ALIVE
    ):
        return
    if (error := error_in(_decode_any(payload))) is not None:
        raise ProviderErrorEvent(error)


def too_few(got: int, asked: int | None, *, proved: bool) -> str:
    """In words, whether an answer has fewer choices than were asked for; empty: it has not, or is only different.

    Providers that do not know `n` answer with one choice (Anthropic's and Ollama's OpenAI-compatible endpoints: their
    documentation, November 2026), so exactly one counts where the end of the answer is proved. Some but not all means
    that choices are missing.
    """
    if asked is None or got >= asked or (got == 1 and proved):
        return ""
    return f"with {got} of the {asked} choices that were asked for"


def _is_several(payload: bytes) -> bool:
    """Whether it is several JSON values, one on each line."""
    first, _, rest = payload.partition(b"\n")
    try:
        return bool(rest) and fields_of(first) is not None
    except (ValueError, RecursionError):
        return False


def _is_text_of_choice_0(place: tuple[Any, ...]) -> bool:
    return str(place[1]) == "0" and not {"content", "text"}.isdisjoint(place)


def _goes_on(index: int) -> BrokenStream:
    return BrokenStream(f"choice {index} went on after its finish_reason{REPEATED_FINISH_REASON_HINT}")


def _calls(tool_calls: Raw) -> bool:
    """Whether there is anything in them: nearly always arguments, which need no second look."""
    return b'"arguments":' in bytes(tool_calls) or adds(tool_calls)
