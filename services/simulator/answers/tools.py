"""Tool calls: which functions an answer calls, with arguments that fit their schemas."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec
from msgspec import Struct

from services.simulator.answers import tokens
from services.simulator.answers.json_schema import example_value
from services.simulator.answers.requests import CompletionRequest

__all__ = ["ToolCall", "call_functions", "functions_to_call"]

Function = dict[str, Any]

_WORD: Final = re.compile(r"[a-z]+|[A-Z][a-z]+|[A-Z]+(?![a-z])")
_SHORTEST_WORD: Final = 4
"""Number of letters of a word in a function's name whose mention counts: `weather` of `get_weather`."""


class ToolCall(Struct, frozen=True):
    id: str
    name: str
    arguments: tuple[str, ...]
    """Tokens of JSON."""


def functions_to_call(request: CompletionRequest, question: str) -> list[Function]:
    """The functions that the answer calls; empty: it is text.

    With `tool_choice: auto` those that the question mentions by a word of their name; with `required` the same, or else
    the first; a named one. No function is called twice for the same question, unless one is required and none is left.
    """
    functions, mode = _chosen(request)
    if not functions or mode == "none":
        return []
    called = _called(request.messages)
    left = [each for each in functions if each.get("name") not in called]
    if mode == "required":
        return _limited(request, _mentioned(left, question) or left[:1] or functions[:1])
    return _limited(request, _mentioned(left, question))


def call_functions(
    functions: list[Function], topic: str, question: str, seed: int, limit: int | None
) -> tuple[tuple[ToolCall, ...], bool]:
    """The calls, of at most `limit` tokens, and whether they are complete."""
    calls: list[ToolCall] = []
    left = limit
    for number, function in enumerate(functions):
        value = example_value(function.get("parameters") or {"type": "object"}, topic, question)
        arguments = tokens.split(msgspec.json.encode(value).decode())
        kept = arguments if left is None else arguments[:left]
        if kept or not calls:
            call_id = f"call_{(seed + (number << 40)) & 0xFFFFFFFFFFFF:012x}"
            calls.append(ToolCall(call_id, str(function.get("name")), tuple(kept)))
        if len(kept) < len(arguments):
            return tuple(calls), False
        left = None if left is None else left - len(kept)
    return tuple(calls), True


def _chosen(request: CompletionRequest) -> tuple[list[Function], str]:
    """The functions that `tool_choice` leaves to the answer, and `none`, `auto` or `required`."""
    functions = _functions(request.tools)
    choice = request.tool_choice
    if choice is None or isinstance(choice, str):
        return functions, choice or "auto"
    allowed = choice.get("allowed_tools")
    if isinstance(allowed, dict):
        names = {each.get("name") for each in _functions(allowed.get("tools"))}
        return [each for each in functions if each.get("name") in names], str(allowed.get("mode"))
    named = choice.get("function")
    name = named.get("name") if isinstance(named, dict) else None
    # A named function is called again even if it was called for the same question.
    return [each for each in functions if each.get("name") == name], "required"


def _functions(tools: object) -> list[Function]:
    found = (
        [tool.get("function") for tool in tools if isinstance(tool, dict)] if isinstance(tools, list) else []
    )
    return [each for each in found if isinstance(each, dict)]


def _limited(request: CompletionRequest, functions: list[Function]) -> list[Function]:
    return functions[:1] if request.parallel_tool_calls is False else functions


def _mentioned(functions: list[Function], question: str) -> list[Function]:
    words = {word.casefold() for word in re.findall(r"\w+", question)}
    return [function for function in functions if words & _words(str(function.get("name")))]


def _words(name: str) -> set[str]:
    parts = {part.casefold() for part in _WORD.findall(name) if len(part) >= _SHORTEST_WORD}
    return {*parts, name.casefold()}


def _called(messages: list[dict[str, Any]]) -> set[str]:
    """The names of the functions called since the last user message."""
    names: set[str] = set()
    for message in messages:
        if message.get("role") == "user":
            names.clear()
        calls = message.get("tool_calls")
        names |= {str(function.get("name")) for function in _functions(calls)}
    return names
