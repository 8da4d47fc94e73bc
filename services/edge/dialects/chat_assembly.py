"""A whole chat completion from the deltas of a streamed one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from penstock.contract.reply import Delta
from services.edge.dialects.chat_choices import CallNumbers, Choice, piece_of_chunk

__all__ = ["assembled_choices"]


class _Message:
    """Grows by the pieces of one choice."""

    def __init__(self) -> None:
        self.text: list[str] = []
        self._reasoning: list[str] = []
        self._refusal: list[str] = []
        self._numbers = CallNumbers()
        self._calls: list[dict[str, Any]] = []
        self._logprobs: list[dict[str, Any]] = []

    def add(self, piece: Choice) -> None:
        self.text.append(piece.text)
        self._reasoning.append(piece.reasoning)
        self._refusal.append(piece.refusal)
        self._logprobs += piece.logprobs
        for part in piece.tool_calls:
            number = self._numbers.of(part)
            if number == len(self._calls):
                function = {"name": "", "arguments": ""}
                self._calls.append({"id": "", "type": "function", "function": function})
            call = self._calls[number]
            call["id"] = call["id"] or part.id
            call["function"]["name"] = call["function"]["name"] or part.name
            call["function"]["arguments"] += part.arguments

    def choice(self, index: int, finish_reason: str) -> dict[str, Any]:
        text, refusal, reasoning = map("".join, (self.text, self._refusal, self._reasoning))
        has_other = bool(self._calls or refusal)
        message: dict[str, Any] = {
            "role": "assistant",
            "content": None if has_other and not text else text,
            "refusal": refusal or None,
        }
        if reasoning:
            message["reasoning_content"] = reasoning
        if self._calls:
            message["tool_calls"] = self._calls
        logprobs = {"content": self._logprobs, "refusal": None} if self._logprobs else None
        return {"index": index, "message": message, "logprobs": logprobs, "finish_reason": finish_reason}


def assembled_choices(deltas: Iterable[Delta], finish_reason: str) -> list[dict[str, Any]]:
    """The choices of the completion. `finish_reason`: that of choice 0, which the others get as well."""
    messages = {0: _Message()}
    for delta in deltas:
        messages[0].text.append(delta.text)
        for raw in delta.choices:
            index, piece = piece_of_chunk(raw)
            if piece is not None:
                messages.setdefault(index, _Message()).add(piece)
    return [messages[index].choice(index, finish_reason) for index in sorted(messages)]
