"""A whole reply, put together from its events."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from penstock.errors import RequestFailed
from schemas.names import Complexity, Role
from schemas.reply import (
    NO_RESPONSE,
    Accepted,
    Completed,
    Degraded,
    Delta,
    Failed,
    ReplyEvent,
    Restarted,
    Started,
    Timings,
    Usage,
)

__all__ = ["Reply", "ReplyBuilder"]


class _Message(Struct):
    content: str | list[Any] | None = None


class _Choice(Struct):
    message: _Message


class _ChatCompletion(Struct):
    choices: list[_Choice]


_completion = msgspec.json.Decoder(_ChatCompletion)


class Reply(Struct, frozen=True, kw_only=True):
    """An answer and how it came about."""

    id: str
    text: str
    role: Role
    complexity: Complexity | None
    why: str
    model: str
    provider: str
    attempts: int
    finish_reason: str
    usage: Usage
    cost_microusd: int
    timings: Timings
    degraded: tuple[Degraded, ...] = ()
    """What the answering attempt was given less of than was asked for."""
    response: dict[str, Any] | None
    """The provider's chat-completion body (tool calls and all) when the request did not stream."""


class ReplyBuilder:
    """Fold events into a Reply."""

    def __init__(self) -> None:
        self._accepted: Accepted | None = None
        self._text: list[str] = []
        self.started: Started | None = None
        self.restarts = 0

    def add(self, event: ReplyEvent) -> Reply | None:
        """The Reply once the event is `completed`, else None. Raises RequestFailed on `failed`."""
        match event:
            case Accepted():
                self._accepted = event
            case Started():
                self.started = event
            case Delta():
                self._text.append(event.text)
            case Restarted():
                self._text.clear()
                self.restarts += 1
            case Completed():
                return self._reply(event)
            case Failed():
                raise RequestFailed(event.id, event.error)
        return None

    def _reply(self, event: Completed) -> Reply:
        accepted = self._accepted
        whole = None if event.response == NO_RESPONSE else event.response
        return Reply(
            id=event.id,
            text="".join(self._text) if whole is None else _content(whole),
            role=event.role,
            complexity=accepted.complexity if accepted else None,
            why=accepted.why if accepted else "",
            model=event.model,
            provider=event.provider,
            attempts=event.attempt,
            finish_reason=event.finish_reason,
            usage=event.usage,
            cost_microusd=event.cost_microusd,
            timings=event.timings,
            degraded=event.degraded,
            response=None if whole is None else msgspec.json.decode(whole, type=dict[str, Any]),
        )


def _content(response: msgspec.Raw) -> str:
    choices = _completion.decode(response).choices
    content = choices[0].message.content if choices else None
    if isinstance(content, list):
        return "".join(text for part in content if (text := _text_of(part)))
    return content or ""


def _text_of(part: object) -> str | None:
    """Of a content part, if it is one of text (OpenAI, "Create chat completion": `{"type": "text", "text": …}`)."""
    if isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str):
        return str(part["text"])
    return None
