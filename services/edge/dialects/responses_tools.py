"""The tools of a Responses request, as those of a chat: functions only, because few providers have others."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Raw, Struct, field

from services.edge.dialects.dialect import InvalidField
from services.edge.dialects.request_json import decode, given

__all__ = ["ToolChoice", "tool_options"]

_MODES: Final = ("none", "auto", "required")


class _Kind(Struct):
    type: str


class _Function(Struct):
    name: str
    description: str | None = None
    parameters: dict[str, Raw] | None = None
    strict: bool | None = None


class _AllowedTool(Struct):
    name: str = ""


class ToolChoice(Struct):
    """A choice of one function, or of a mode and some of the tools."""

    type: str
    name: str = ""
    mode: str = "auto"
    tools: list[_AllowedTool] = field(default_factory=list)


_KIND: Final = msgspec.json.Decoder(_Kind)
_FUNCTION: Final = msgspec.json.Decoder(_Function)


def tool_options(
    tools: list[Raw], choice: str | ToolChoice | None, *, parallel: bool | None
) -> dict[str, Any]:
    """The fields of a chat body. Raises InvalidField.

    Providers refuse an empty list of tools, and the other fields without tools. Few of them know `allowed_tools`, so
    that only the allowed tools are sent.
    """
    functions = [_function(raw, f"tools[{index}]") for index, raw in enumerate(tools)]
    chat_choice = _chat_choice(choice, {function.name for function in functions})
    if isinstance(choice, ToolChoice) and choice.type == "allowed_tools":
        allowed = {tool.name for tool in choice.tools}
        functions = [function for function in functions if function.name in allowed]
    if not functions:
        return {}
    chat_tools = [
        {"type": "function", "function": given(**msgspec.structs.asdict(each))} for each in functions
    ]
    return given(tools=chat_tools, tool_choice=chat_choice, parallel_tool_calls=parallel)


def _function(raw: Raw, path: str) -> _Function:
    kind = decode(_KIND, raw, path).type
    if kind != "function":
        raise InvalidField(
            f"{path}.type", f"{path}.type must be function: {kind[:40]} tools are not supported"
        )
    return decode(_FUNCTION, raw, path)


def _chat_choice(choice: str | ToolChoice | None, names: set[str]) -> str | dict[str, Any] | None:
    if not isinstance(choice, ToolChoice):
        return choice if choice is None else _mode(choice, "tool_choice", names)
    if choice.type == "allowed_tools":
        _check_names({tool.name for tool in choice.tools}, "tool_choice.tools", names)
        return _mode(choice.mode, "tool_choice.mode", names)
    if choice.type != "function":
        raise InvalidField("tool_choice.type", "tool_choice.type must be function or allowed_tools")
    _check_names({choice.name}, "tool_choice.name", names)
    return {"type": "function", "function": {"name": choice.name}}


def _mode(mode: str, path: str, names: set[str]) -> str:
    if mode not in _MODES:
        raise InvalidField(path, f"{path} must be one of {', '.join(_MODES)}")
    if mode == "required" and not names:
        raise InvalidField(path, f"{path} must be none or auto, because there are no tools")
    return mode


def _check_names(chosen: set[str], path: str, names: set[str]) -> None:
    if not chosen or not chosen <= names:
        raise InvalidField(path, f"{path} must name functions that are in tools")
