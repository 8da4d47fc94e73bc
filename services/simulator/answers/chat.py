"""Chat answers, a pure function of the base model name and the request."""

from __future__ import annotations

import re
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from services.simulator.answers import tokens
from services.simulator.answers.language import Language, detect
from services.simulator.answers.requests import CompletionRequest, Prompt
from services.simulator.answers.structured import example_value

__all__ = ["DEFAULT_TOKENS", "Answer", "ToolCall", "compose"]

DEFAULT_TOKENS: Final = 40
"""Length of an answer when neither the prompt nor a limit sets one."""

_REQUESTED_LENGTH: Final = re.compile(r"\[\[tokens=(\d{1,6})\]\]")
_TOPIC_WORDS: Final = 8

FinishReason = Literal["stop", "length", "tool_calls"]


class ToolCall(Struct, frozen=True):
    id: str
    name: str
    arguments: tuple[str, ...]


class Answer(Struct, frozen=True):
    """One choice. Every piece is a token, and a stream sends one piece per chunk."""

    content: tuple[str, ...]
    finish_reason: FinishReason
    reasoning: tuple[str, ...] = ()
    tool: ToolCall | None = None

    @property
    def tokens(self) -> int:
        return len(self.reasoning) + len(self.content) + (len(self.tool.arguments) if self.tool else 0)


def compose(base: str, request: CompletionRequest, prompt: Prompt, seed: int) -> Answer:
    """The answer of model `base`; `seed` is derived from the messages and the index of the choice."""
    language = detect(prompt.question)
    topic = _topic(prompt.question)
    limit = request.token_limit
    tool = _required_tool(request)
    if tool is not None:
        return _call(tool, topic, seed, limit)
    reasoning = tokens.split(language.thought.format(topic=topic)) if "reasoning" in base else []
    if request.response_format is not None and request.response_format.get("type") != "text":
        content = tokens.split(_json(request.response_format, base, topic))
    else:
        content = _text(base, language, prompt, topic, seed)
    whole = len(reasoning) + len(content)
    if limit is None or whole <= limit:
        return Answer(tuple(content), "stop", tuple(reasoning))
    return Answer(tuple(content[: max(0, limit - len(reasoning))]), "length", tuple(reasoning[:limit]))


def _topic(question: str) -> str:
    return " ".join(_REQUESTED_LENGTH.sub("", question).split()[:_TOPIC_WORDS])


def _text(base: str, language: Language, prompt: Prompt, topic: str, seed: int) -> list[str]:
    requested = _REQUESTED_LENGTH.search(prompt.question)
    length = int(requested.group(1)) if requested else DEFAULT_TOKENS
    opening = language.opening.format(model=base, topic=topic)
    if prompt.images:
        opening += language.images.format(count=prompt.images, plural="" if prompt.images == 1 else "s")
    pieces = tokens.split(opening)[:length]
    _fill(pieces, language, length - len(pieces), seed)
    return pieces


def _fill(pieces: list[str], language: Language, missing: int, seed: int) -> None:
    """Append exactly `missing` tokens of whole sentences; `seed` selects the first one."""
    sentences = language.sentences
    start = seed % len(sentences)
    while missing >= 2:
        order = (*range(start, len(sentences)), *range(start))
        index = next((index for index in order if len(sentences[index]) <= missing), None)
        chosen = language.closings[missing] if index is None else sentences[index]
        pieces += chosen
        missing -= len(chosen)
        start = 0 if index is None else index + 1
    if missing:
        pieces.insert(-1, language.more)


def _json(response_format: dict[str, Any], base: str, topic: str) -> str:
    schema = (response_format.get("json_schema") or {}).get("schema")
    value = {"answer": topic, "model": base} if schema is None else example_value(schema, topic)
    return msgspec.json.encode(value).decode()


def _required_tool(request: CompletionRequest) -> dict[str, Any] | None:
    """The function that `tool_choice` forces the answer to call; None if it forces none."""
    functions: list[dict[str, Any]] = [
        tool["function"] for tool in request.tools or () if isinstance(tool.get("function"), dict)
    ]
    if not functions or request.tool_choice is None:
        return None
    if request.tool_choice == "required":
        return functions[0]
    if isinstance(request.tool_choice, str):
        return None
    wanted = (request.tool_choice.get("function") or {}).get("name")
    return next((function for function in functions if function.get("name") == wanted), None)


def _call(function: dict[str, Any], topic: str, seed: int, limit: int | None) -> Answer:
    value = example_value(function.get("parameters") or {}, topic)
    arguments = tokens.split(msgspec.json.encode(value).decode())
    kept = arguments if limit is None else arguments[:limit]
    call = ToolCall(f"call_{seed & 0xFFFFFFFFFFFF:012x}", str(function.get("name")), tuple(kept))
    return Answer((), "tool_calls" if len(kept) == len(arguments) else "length", tool=call)
