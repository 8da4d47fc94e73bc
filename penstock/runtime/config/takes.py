"""The parameters that a model takes: a mapping from a parameter to how it is sent.

`true`: unchanged. `false` (YAML `no`): not sent. A name: sent under that name. `{only: 1}`: sent if it has this value.
`developer_role` and `system_role` are roles of messages, and the name is the role that is sent instead.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from msgspec import Struct

from penstock.runtime.config.document import joined
from penstock.runtime.config.problems import ProblemReport

__all__ = ["ROLE_SUFFIX", "Only", "Take", "check_take_values", "check_takes"]


class Only(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The only value of a parameter that a model takes."""

    only: bool | int | float | str


Take = bool | str | Only

ROLE_SUFFIX: Final = "_role"
_ROLES: Final = ("developer", "system", "user")
_ROLE_KEYS: Final = ("developer_role", "system_role")
_FIXED: Final = ("messages", "model", "stream")
_ASKED_FOR: Final = ("tools", "functions", "response_format")
_PARAMETERS: Final = """
    audio developer_role frequency_penalty function_call functions logit_bias logprobs max_completion_tokens
    max_tokens messages metadata modalities model n parallel_tool_calls prediction presence_penalty prompt_cache_key
    reasoning_effort response_format safety_identifier seed service_tier stop store stream stream_options
    system_role temperature tool_choice tools top_k top_logprobs top_p user verbosity web_search_options
"""
_KNOWN: Final = tuple(_PARAMETERS.split())
"""Parameters of chat completions in OpenAI's API reference, and the roles of messages."""
_ALIKE: Final = 0.85
"""Similarity (difflib ratio) from which on an unknown parameter counts as a misspelt known one."""
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")


def check_take_values(data: Mapping[str, Any], report: ProblemReport) -> None:
    """Report values of an unsuitable type in the raw data of a catalogue."""
    for section in ("providers", "models"):
        for name, entry in _mappings(data.get(section)):
            takes = entry.get("takes")
            for parameter, value in takes.items() if isinstance(takes, dict) else ():
                if isinstance(value, bool | str | dict):
                    continue
                shown = "1" if value is None or isinstance(value, list) else value
                fix = f"write no to leave it out, another name, or {{only: {shown}}} if it takes this value alone"
                path = joined(joined(joined(section, name), "takes"), parameter)
                report.add(path, "does not say how the parameter is sent", fix)


def check_takes(takes: object, beneath: Mapping[str, Take], path: str, report: ProblemReport) -> None:
    """Report entries of `takes` that no request could follow. `beneath`: the entries that `takes` overrides."""
    if not isinstance(takes, dict):
        return
    merged = {**beneath, **takes}
    for parameter, take in takes.items():
        wrong = _misspelt(parameter) or _wrong(parameter, take, merged)
        if wrong is not None:
            report.add(joined(path, parameter), *wrong)


def _wrong(parameter: str, take: Take, merged: Mapping[str, Take]) -> tuple[str, str] | None:
    if not _NAME.fullmatch(parameter):
        return "is not the name of a parameter", "write a name such as temperature"
    if take is True:
        return None
    if parameter in _FIXED:
        return "is part of every request and is sent unchanged", "take the line out"
    if parameter.endswith(ROLE_SUFFIX):
        return _wrong_role(parameter, take)
    if take is False and parameter in _ASKED_FOR:
        problem = "cannot be left out: the answer would not be the requested one"
        return problem, "take the model out of the chains that need it"
    return _wrong_name(parameter, take, merged) if isinstance(take, str) else None


def _misspelt(parameter: str) -> tuple[str, str] | None:
    close = difflib.get_close_matches(parameter, _KNOWN, n=1, cutoff=_ALIKE)
    if not close or parameter in _KNOWN:
        return None
    return f"is not a known parameter and is like {close[0]}", f"write {close[0]}, or take the line out"


def _wrong_role(parameter: str, take: Take) -> tuple[str, str] | None:
    if parameter not in _ROLE_KEYS:
        return "is not a role that can be replaced", f"use one of: {', '.join(_ROLE_KEYS)}"
    own = parameter.removesuffix(ROLE_SUFFIX)
    others = [role for role in _ROLES if role != own]
    if take in others:
        return None
    return (
        "a message cannot be left out, so this names the role to send instead",
        f"write {' or '.join(others)}",
    )


def _wrong_name(parameter: str, name: str, merged: Mapping[str, Take]) -> tuple[str, str] | None:
    if name == parameter:
        return "is renamed to itself", "write yes if it is taken, no if it is not"
    if not _NAME.fullmatch(name):
        return "is not the name of a parameter", "write no to leave it out, or the name to send it under"
    if name in _FIXED or name in _ROLE_KEYS:
        return f"cannot be sent as {name}, which is part of every request", "name another parameter"
    other = merged.get(name, True)
    if isinstance(other, str):
        fix = f"write {name}: yes beside it, or take the line out"
        return f"is renamed to {name}, which is renamed itself", fix
    if other is False:
        return f"is renamed to {name}, which the model does not take either", "write no for both"
    return None


def _mappings(section: object) -> Iterable[tuple[str, dict[str, Any]]]:
    if not isinstance(section, dict):
        return ()
    return [(name, entry) for name, entry in section.items() if isinstance(entry, dict)]
