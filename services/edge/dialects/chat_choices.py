"""The choices of chat completions and of their chunks, read leniently: what is not of OpenAI's shape is left out."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

__all__ = ["CallNumbers", "Choice", "ToolCall", "choice_of_chunk", "choice_of_completion", "piece_of_chunk"]

_decode: Final = msgspec.json.Decoder().decode
_encode: Final = msgspec.json.Encoder().encode


class ToolCall(Struct, frozen=True):
    """A tool call or a piece of one. Empty values are absent ones."""

    index: int | None
    id: str
    name: str
    arguments: str


class _KnownCall(Struct):
    id: str = ""
    name: str = ""


class CallNumbers:
    """Tells which pieces of a streamed answer belong to one tool call.

    Gemini omits the index of parallel calls, or sends 0 for all. Some servers repeat the name, or send another id with
    each piece, but not both.
    """

    def __init__(self) -> None:
        self._calls: list[_KnownCall] = []
        self._numbers: dict[int | str, int] = {}
        """By the index in the pieces; by the id where they have no index."""
        self._latest: int | None = None

    def of(self, piece: ToolCall) -> int:
        """The number of the call, from 0 in the order in which calls begin."""
        key = piece.id if piece.index is None else piece.index
        number = self._numbers.get(key, self._latest if piece.index is None else None)
        if number is None or self._is_another(piece, self._calls[number]):
            number = len(self._calls)
            self._calls.append(_KnownCall())
        if key != "":
            self._numbers[key] = number
        self._latest = number
        call = self._calls[number]
        call.id, call.name = call.id or piece.id, call.name or piece.name
        return number

    @staticmethod
    def _is_another(piece: ToolCall, call: _KnownCall) -> bool:
        if not (piece.name and call.name):
            return False
        return piece.id != call.id if piece.id and call.id else piece.index is None


class Choice(Struct, frozen=True, kw_only=True):
    """The content of choice 0, or a piece of it."""

    reasoning: str
    text: str
    refusal: str
    tool_calls: list[ToolCall]
    logprobs: list[dict[str, Any]]
    """Those of the tokens of `text`, with all fields that OpenAI documents."""


def choice_of_chunk(raw: Raw) -> Choice | None:
    """None for another choice than the first."""
    index, choice = piece_of_chunk(raw)
    return None if index else choice


def piece_of_chunk(raw: Raw) -> tuple[int, Choice | None]:
    """The index of a choice and its content; None for what is no choice."""
    try:
        choice = _dict(_decode(raw))
    except (ValueError, RecursionError):  # the worker passes such parts of an answer without decoding them
        return 0, None
    index = choice.get("index")
    return (
        index if isinstance(index, int) else 0,
        _choice(choice, _dict(choice.get("delta")), whole=False),
    )


def choice_of_completion(response: Raw) -> Choice:
    """The first choice of a whole completion. Raises msgspec.DecodeError if it is not JSON."""
    choices = [_dict(each) for each in _list(_dict(_decode(response)).get("choices"))]
    first = next((choice for choice in choices if not choice.get("index")), {})
    return _choice(first, _dict(first.get("message")), whole=True)


def _choice(choice: dict[str, Any], content: dict[str, Any], *, whole: bool) -> Choice:
    parts = content.get("content")
    thinking, text = _parts(_list(parts)) if not isinstance(parts, str) else ("", parts)
    return Choice(
        reasoning=_str(content.get("reasoning_content")) or _str(content.get("reasoning")) or thinking,
        text=text,
        refusal=_str(content.get("refusal")),
        tool_calls=[
            call
            for position, each in enumerate(_list(content.get("tool_calls")))
            if (call := _tool_call(_dict(each), position if whole else None)) is not None
        ],
        logprobs=_logprobs(_dict(choice.get("logprobs")).get("content")),
    )


def _parts(parts: list[Any]) -> tuple[str, str]:
    """The reasoning and the text in content parts; reasoning in content is Mistral's shape."""
    reasoning, text = [], []
    for part in map(_dict, parts):
        if part.get("type") == "thinking":
            reasoning += [_str(_dict(each).get("text")) for each in _list(part.get("thinking"))]
        else:
            text.append(_str(part.get("text")))
    return "".join(reasoning), "".join(text)


def _tool_call(call: dict[str, Any], position: int | None) -> ToolCall | None:
    """None for one without content."""
    function = _dict(call.get("function"))
    arguments, index = function.get("arguments"), call.get("index")
    if isinstance(arguments, dict):  # Ollama sends an object
        arguments = _encode(arguments).decode()
    index = position if position is not None else index if isinstance(index, int) else None
    content = _str(call.get("id")), _str(function.get("name")), _str(arguments)
    return ToolCall(index, *content) if any(content) else None


def _logprobs(tokens: Any) -> list[dict[str, Any]]:
    return [
        {**_token(token), "top_logprobs": [_token(top) for top in _tokens(token.get("top_logprobs"))]}
        for token in _tokens(tokens)
    ]


def _tokens(tokens: Any) -> list[dict[str, Any]]:
    return [
        token
        for token in map(_dict, _list(tokens))
        if isinstance(token.get("token"), str) and type(token.get("logprob")) in (int, float)
    ]


def _token(token: dict[str, Any]) -> dict[str, Any]:
    numbers = [each for each in _list(token.get("bytes")) if type(each) is int]
    return {"token": token["token"], "logprob": token["logprob"], "bytes": numbers}


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _str(value: Any) -> str:
    return value if isinstance(value, str) else ""
