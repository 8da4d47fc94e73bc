"""How the parameters of a request are sent to a model that does not accept all of them as they are.

`true`: unchanged. `false` (YAML `no`): not sent. A name: sent under that name. `{only: 1}`: sent if it has this value.
`developer_role` and `system_role` are roles of messages, and the name is the role that is sent instead.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from msgspec import Struct

from penstock.runtime.config.problems import ProblemReport, joined

__all__ = ["ROLE_SUFFIX", "Only", "SentAs", "check_mapping_values", "check_parameter_mapping"]


class Only(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The only value of a parameter that a model accepts."""

    only: bool | int | float | str


SentAs = bool | str | Only
"""How one parameter is sent."""

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


def check_mapping_values(data: Mapping[str, Any], report: ProblemReport) -> None:
    """Report values of an unsuitable type in the raw data of a catalogue."""
    for section in ("providers", "models"):
        for name, entry in _mappings(data.get(section)):
            mapping = entry.get("parameter_mapping")
            for parameter, value in mapping.items() if isinstance(mapping, dict) else ():
                if isinstance(value, bool | str | dict):
                    continue
                shown = "1" if value is None or isinstance(value, list) else value
                fix = f"write no to leave it out, another name, or {{only: {shown}}} if it accepts only this value"
                path = joined(section, name, "parameter_mapping", parameter)
                report.add(path, "does not say how the parameter is sent", fix)


def check_parameter_mapping(
    mapping: object, beneath: Mapping[str, SentAs], path: str, report: ProblemReport
) -> None:
    """Report entries that no request could follow. `beneath`: the entries that `mapping` overrides."""
    if not isinstance(mapping, dict):
        return
    merged = {**beneath, **mapping}
    for parameter, sent_as in mapping.items():
        misspelt = _misspelt(parameter)
        wrong = misspelt or _wrong(parameter, sent_as, merged)
        if wrong is not None:
            report.add(joined(path, parameter), *wrong, quote=misspelt is None)


def _wrong(parameter: str, sent_as: SentAs, merged: Mapping[str, SentAs]) -> tuple[str, str] | None:
    if not _NAME.fullmatch(parameter):
        return "is not the name of a parameter", "write a name such as temperature"
    if sent_as is True:
        return None
    if parameter in _FIXED:
        return "is part of every request and is sent unchanged", "take the line out"
    if parameter.endswith(ROLE_SUFFIX):
        return _wrong_role(parameter, sent_as)
    if sent_as is False and parameter in _ASKED_FOR:
        problem = "cannot be left out: the answer would not be the requested one"
        return problem, "take the model out of the chains that need it"
    return _wrong_name(parameter, sent_as, merged) if isinstance(sent_as, str) else None


def _misspelt(parameter: str) -> tuple[str, str] | None:
    close = difflib.get_close_matches(parameter, _KNOWN, n=1, cutoff=_ALIKE)
    if not close or parameter in _KNOWN:
        return None
    return f"is not a known parameter and is like {close[0]}", f"write {close[0]}, or take the line out"


def _wrong_role(parameter: str, sent_as: SentAs) -> tuple[str, str] | None:
    if parameter not in _ROLE_KEYS:
        return "is not a role that can be replaced", f"use one of: {', '.join(_ROLE_KEYS)}"
    own = parameter.removesuffix(ROLE_SUFFIX)
    others = [role for role in _ROLES if role != own]
    if sent_as in others:
        return None
    return (
        "a message cannot be left out, so this names the role to send instead",
        f"write {' or '.join(others)}",
    )


def _wrong_name(parameter: str, name: str, merged: Mapping[str, SentAs]) -> tuple[str, str] | None:
    if name == parameter:
        return "is renamed to itself", "write yes if it is accepted, no if it is not"
    if not _NAME.fullmatch(name):
        return "is not the name of a parameter", "write no to leave it out, or the name to send it under"
    if name in _FIXED or name in _ROLE_KEYS:
        return f"cannot be sent as {name}, which is part of every request", "name another parameter"
    other = merged.get(name, True)
    if isinstance(other, str):
        fix = f"write {name}: yes beside it, or take the line out"
        return f"is renamed to {name}, which is renamed itself", fix
    if other is False:
        return f"is renamed to {name}, which the model does not accept either", "write no for both"
    return None


def _mappings(section: object) -> Iterable[tuple[str, dict[str, Any]]]:
    if not isinstance(section, dict):
        return ()
    return [(name, entry) for name, entry in section.items() if isinstance(entry, dict)]
