"""A whole reply, assembled from its events."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from penstock.contract.guard.places import LeftOut
from penstock.contract.guard.policies import Direction
from penstock.contract.names import Complexity, Role
from penstock.contract.reply import (
    NO_RESPONSE,
    Accepted,
    Adapted,
    Completed,
    Degraded,
    Delta,
    Failed,
    GuardedContent,
    ReplyEvent,
    Restarted,
    Timings,
    Usage,
)
from penstock.contract.retrieval.search import Citation, RecalledTurns
from penstock.errors import RequestFailed

__all__ = ["Reply", "ReplyBuilder"]

_FLOAT_DIGITS: Final = 309
"""Digits of the largest float; Python reads an integer of more than 4300 digits in no other way."""


class Reply(Struct, frozen=True, kw_only=True):
    """An answer, the model that gave it, and its cost."""

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
    estimated: bool = False
    """True when the provider omitted a count and part of `usage` is an estimate."""
    cost_microusd: int
    unpriced_attempts: int = 0
    """Attempts that used tokens of a model without a price; above 0, the cost is not known, and `cost_microusd` is that
    of the other attempts."""
    timings: Timings
    degraded: tuple[Degraded, ...] = ()
    """The reductions of the request in the attempt that answered."""
    adapted: tuple[Adapted, ...] = ()
    """Parameters that were changed because the answering model does not accept them as sent."""
    guarded: tuple[GuardedContent, ...] = ()
    """What the safety guard found in the request or the answer, and reported or redacted."""
    unchecked: tuple[Direction, ...] = ()
    """Where a check of the safety guard was not made, and the policy let the content pass."""
    left_out: tuple[LeftOut, ...] = ()
    """Passages and earlier turns that the safety guard kept from the model."""
    citations: tuple[Citation, ...] = ()
    """The passages that were put before the model, and which of them the text cites."""
    recalled: tuple[RecalledTurns, ...] = ()
    """The earlier turns of the user that were put before the model."""
    response: dict[str, Any] | None
    """The provider's chat-completion body, with tool calls, when the request did not stream."""


class ReplyBuilder:
    """Fold events into a Reply."""

    def __init__(self) -> None:
        self._accepted: Accepted | None = None
        self._text: list[str] = []

    def add(self, event: ReplyEvent) -> Reply | None:
        """The Reply once the event is `completed`, else None. Raises RequestFailed on `failed`."""
        match event:
            case Accepted():
                self._accepted = event
            case Delta():
                self._text.append(event.text)
            case Restarted():
                self._text.clear()
            case Completed():
                return self._reply(event)
            case Failed():
                raise RequestFailed(event.id, event.error)
        return None

    def _reply(self, event: Completed) -> Reply:
        accepted = self._accepted
        response = None if event.response == NO_RESPONSE else _object(event.response)
        return Reply(
            id=event.id,
            text="".join(self._text) if response is None else _text_of_first_choice(response),
            role=event.role,
            complexity=accepted.complexity if accepted else None,
            why=accepted.why if accepted else "",
            model=event.model,
            provider=event.provider,
            attempts=event.attempt,
            finish_reason=event.finish_reason,
            usage=event.usage,
            estimated=event.estimated,
            cost_microusd=event.cost_microusd,
            unpriced_attempts=event.unpriced_attempts,
            timings=event.timings,
            degraded=event.degraded,
            adapted=event.adapted,
            guarded=event.guarded,
            unchecked=event.unchecked,
            left_out=event.left_out,
            citations=event.citations,
            recalled=event.recalled,
            response=response,
        )


def _object(response: msgspec.Raw) -> dict[str, Any]:
    """The body; empty when it is not a JSON object and thus not a chat completion.

    A number that is beyond every float is infinity, and so is an integer of that size.
    """
    try:
        decoded = msgspec.json.decode(response)
    except msgspec.ValidationError:
        decoded = json.loads(bytes(response), parse_int=_integer)
    return decoded if isinstance(decoded, dict) else {}


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= _FLOAT_DIGITS else float(digits)


def _text_of_first_choice(response: Mapping[str, Any]) -> str:
    """The content of choice 0 in any of its shapes; empty when there is none."""
    found = response.get("choices")
    first: dict[str, Any] | None = None
    for each in found if isinstance(found, list) else ():
        if isinstance(each, dict):
            if each.get("index", 0) == 0:
                first = each
                break
            first = first or each
    message = None if first is None else first.get("message")
    content = message.get("content") if isinstance(message, dict) else None
    return content if isinstance(content, str) else _text(content)


def _text(content: object) -> str:
    if isinstance(content, list):
        return "".join(_part_text(part) for part in content)
    return _part_text(content)


def _part_text(part: object) -> str:
    """The text of a content part: a string or `{"type": "text", …}` (OpenAI, "Create chat completion")."""
    if isinstance(part, str):
        return part
    if isinstance(part, dict) and part.get("type", "text") == "text" and isinstance(part.get("text"), str):
        return str(part["text"])
    return ""
