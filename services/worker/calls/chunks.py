"""The chunks of an OpenAI-compatible chat stream, read so that nothing is lost and nothing is made up."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Raw, Struct

from schemas.reply import Usage
from services.worker.calls.bounds import Word, clipped
from services.worker.calls.errors import ProviderError, error_in
from services.worker.calls.wire_errors import BrokenStream, MalformedChunk, ProviderErrorEvent
from services.worker.usage import NO_USAGE, read_usage

__all__ = ["BrokenStream", "ChunkReader", "MalformedChunk", "Piece", "ProviderErrorEvent", "StreamEnd"]


_CONTENT: Final = (
    "content",
    "refusal",
    "tool_calls",
    "function_call",
    "reasoning",
    "reasoning_content",
    "audio",
)
"""The parts of a delta that belong to the answer."""


class Piece(Struct, frozen=True, gc=False):
    """What one chunk adds to the answer: plain text of choice 0, or else choice objects as they came."""

    text: str
    choices: tuple[Raw, ...] = ()


class StreamEnd(Struct, frozen=True, kw_only=True):
    """The verdict on a complete stream."""

    finish_reason: str | None
    """Of choice 0; None if only other choices were asked for and sent."""
    finish_reasons: dict[int, str]
    model: str | None
    usage: Usage | None
    response_id: str | None


class _Groq(Struct, frozen=True, gc=False):
    usage: Raw = NO_USAGE
    error: str | None = None


class _PlainDelta(Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    role: Literal["assistant"] | None = None
    content: str | None = None
    # What servers send as null on plain text. A value in one of them, like any other key, makes it not plain.
    refusal: None = None
    tool_calls: None = None
    function_call: None = None
    reasoning: None = None
    reasoning_content: None = None
    audio: None = None


class _PlainChoice(Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    delta: _PlainDelta
    index: Literal[0] = 0
    finish_reason: Word | None = None
    logprobs: None = None
    stop_reason: None = None
    token_ids: None = None
    matched_stop: None = None


class _PlainChunk(Struct, frozen=True, gc=False):
    choices: Annotated[list[_PlainChoice], Meta(max_length=1)]
    id: str | None = None
    model: str | None = None
    usage: Raw = NO_USAGE
    x_groq: _Groq | None = None
    error: None = None


class _Choice(Struct, frozen=True, gc=False):
    index: int = 0
    finish_reason: Word | None = None


class _LateChoice(Struct, frozen=True):
    delta: Any = None


class _Chunk(Struct, frozen=True):
    choices: list[Raw] | None = None
    id: str | None = None
    model: str | None = None
    usage: Raw = NO_USAGE
    x_groq: _Groq | None = None
    error: Any = None


_decode_plain: Final = msgspec.json.Decoder(_PlainChunk).decode
_decode_chunk: Final = msgspec.json.Decoder(_Chunk).decode
_decode_choice: Final = msgspec.json.Decoder(_Choice).decode
_decode_late: Final = msgspec.json.Decoder(_LateChoice).decode


class ChunkReader:
    """Reads the chunks of one stream, in order."""

    __slots__ = ("_seen", "finish_reasons", "model", "response_id", "usage")

    def __init__(self) -> None:
        self.finish_reasons: dict[int, str] = {}
        self.model: str | None = None
        self.usage: Usage | None = None
        self.response_id: str | None = None
        self._seen: set[int] = set()

    def read(self, payload: bytes) -> Piece | None:
        """What the chunk adds to the answer; None if nothing (role alone, finish reason alone, usage).

        A finish reason that stands beside anything unusual is in the returned choice object as well as in
        `finish_reasons`. Raises MalformedChunk, ProviderErrorEvent for an error the provider reports, and
        BrokenStream for a choice that goes on after it was finished.
        """
        try:
            chunk = _decode_plain(payload)
        except msgspec.ValidationError:
            return self._read_unusual(payload)
        except (ValueError, RecursionError) as error:
            raise MalformedChunk(f"not JSON: {error}") from error
        if (
            self.response_id is None
            or self.model is None
            or chunk.usage != NO_USAGE
            or chunk.x_groq is not None
        ):
            self._note(chunk)
        if not chunk.choices:
            return None
        choice = chunk.choices[0]
        text = choice.delta.content
        self._seen.add(0)
        if text and 0 in self.finish_reasons:
            raise _goes_on(0)
        if choice.finish_reason:
            self.finish_reasons[0] = choice.finish_reason
        return Piece(text) if text else None

    def end(self, done: bool) -> StreamEnd:  # noqa: FBT001 - the one fact there is about the end of the bytes
        """Judge the stream after its last byte; `done`: the end was marked by `[DONE]`.

        Raises BrokenStream unless the mark came, there was a choice, and every choice seen has its
        finish reason (REQUIREMENTS D6).
        """
        if not done:
            raise BrokenStream("the stream ended without [DONE]")
        if not self._seen:
            raise BrokenStream("the stream ended without a single choice")
        if unfinished := sorted(self._seen - self.finish_reasons.keys()):
            raise BrokenStream(f"choices without a finish_reason: {', '.join(map(str, unfinished))}")
        if "error" in self.finish_reasons.values():
            raise BrokenStream("the provider finished a choice with finish_reason 'error'")
        return StreamEnd(
            finish_reason=self.finish_reasons.get(0),
            finish_reasons=dict(self.finish_reasons),
            model=self.model,
            usage=self.usage,
            response_id=self.response_id,
        )

    def _read_unusual(self, payload: bytes) -> Piece | None:
        try:
            chunk = _decode_chunk(payload)
            if chunk.error:
                raise _reported(chunk.error)
            if chunk.choices is None:
                raise MalformedChunk("a chunk without choices")
            choices = [(raw, _decode_choice(raw)) for raw in chunk.choices]
            # msgspec checks UTF-8 only in what it decodes; these bytes are passed on as they are.
            payload.decode()
        except (ValueError, RecursionError) as error:
            raise MalformedChunk(f"not a chat completion chunk: {error}") from error
        self._note(chunk)
        for raw, choice in choices:
            self._seen.add(choice.index)
            if choice.index in self.finish_reasons and _adds_something(raw):
                raise _goes_on(choice.index)
            if choice.finish_reason:
                self.finish_reasons[choice.index] = choice.finish_reason
        return Piece("", tuple(raw for raw, _ in choices)) if choices else None

    def _note(self, chunk: _PlainChunk | _Chunk) -> None:
        # Azure's first chunk has an empty id and model: the first that says something counts.
        self.response_id = self.response_id or clipped(chunk.id)
        self.model = self.model or clipped(chunk.model)
        self.usage = read_usage(chunk.usage) or self.usage
        if chunk.x_groq is not None:
            if chunk.x_groq.error:
                raise _reported(chunk.x_groq.error)
            self.usage = read_usage(chunk.x_groq.usage) or self.usage


def _adds_something(choice: Raw) -> bool:
    """Whether it is more than what some servers send after the end: the role, an empty text, a filter's verdict."""
    try:
        delta = _decode_late(choice).delta
    except (ValueError, RecursionError) as error:
        raise MalformedChunk(f"not a chat completion chunk: {error}") from error
    return isinstance(delta, dict) and any(delta.get(name) for name in _CONTENT)


def _goes_on(index: int) -> BrokenStream:
    return BrokenStream(f"choice {index} went on after its finish_reason")


def _reported(value: object) -> ProviderErrorEvent:
    return ProviderErrorEvent(error_in(value) or ProviderError(message=str(value)))
