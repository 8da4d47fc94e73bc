"""What models turned out not to take: learnt from refusals that name a parameter, for as long as the process runs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec
from msgspec import Raw, Struct, field, structs

from penstock.config.catalogue import Catalogue
from penstock.config.takes import ROLE_SUFFIX
from services.worker.adapting import Adaptation, Rule, role_of, rules_of
from services.worker.calls.errors import ProviderError

__all__ = ["LearntParameters", "Lesson"]

_OMITTABLE: Final = frozenset(
    {
        "temperature",
        "top_p",
        "top_k",
        "top_a",
        "min_p",
        "typical_p",
        "repetition_penalty",
        "length_penalty",
        "frequency_penalty",
        "presence_penalty",
        "seed",
        "random_seed",
        "logit_bias",
        "logprobs",
        "top_logprobs",
        "user",
        "safety_identifier",
        "metadata",
        "store",
        "service_tier",
        "stream_options",
        "reasoning",
        "reasoning_effort",
        "reasoning_format",
        "include_reasoning",
        "thinking",
        "thinking_budget",
        "enable_thinking",
        "verbosity",
        "parallel_tool_calls",
        "prediction",
        "prompt_cache_key",
        "prompt_cache_retention",
    }
)
"""How an answer is sampled, counted or filed. Without anything else (tools, response_format, stop, n, ...) it would be
another answer than was asked for."""
_OTHER_LIMIT: Final = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}
"""An output limit is never left out: it is what a call may cost."""
_KEPT: Final = frozenset(
    {
        "messages",
        "model",
        "stream",
        "n",
        "tools",
        "tool_choice",
        "functions",
        "function_call",
        "response_format",
    }
)
"""No parameter is sent under these names."""
_INSTEAD_OF: Final = {"developer": "system", "system": "user"}
_VALUES_KEPT: Final = 32
"""Of one parameter and model."""
_VALUE_BYTES: Final = 256
"""A longer value is not remembered: its refusal stands."""

_WHOLE_CODES: Final = frozenset(
    {"unsupported_parameter", "unknown_parameter", "unrecognized_parameter", "extra_forbidden"}
)
_WHOLE: Final = (
    r"unsupported (?:parameter|argument|field)",
    r"(?:parameter|argument|field) (?:is )?not supported",
    r"(?:unknown|unrecogni[sz]ed|unexpected) (?:request )?(?:keyword )?(?:name|parameter|argument|field|key)",
    r"extra (?:inputs|fields?|properties) (?:are |is )?not (?:permitted|allowed)",
    r"additional properties are not allowed",
    r"only the default\b",
    r"(?:not|n't) (?:support|accept|take|recogni[sz]e) (?:the )?(?:(?:parameter|field)s?:? )?[`'\"]?NAME\b",
    r"\bNAME[`'\"]? (?:parameter )?is(?: not|n't| no longer) (?:a )?(?:support|allow|permitt|accept|availab|recogni)",
    r"\bNAME[`'\"]? is (?:unsupported|deprecated)",
)
"""Words that refuse a parameter whatever its value."""
_CONDITION: Final = re.compile(r"\b(?:when|unless|while|if|together|combin\w+)\b")
"""Words that refuse it for what stands beside it: that is remembered for the value alone."""
_INSTEAD: Final = re.compile(
    r"\buse (?:the )?(?:parameter )?[`'\"]?([a-z][a-z0-9_]*)[`'\"]?(?: parameter)? instead", re.IGNORECASE
)
_UNKNOWN_NAMES: Final = re.compile(r"unknown name \\?\"([A-Za-z_]\w*)\\?\"", re.IGNORECASE)
"""Gemini names all of them in one refusal."""
_WORD_BREAK: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")

_decode_fields: Final = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_messages: Final = msgspec.json.Decoder(list[dict[str, Raw]]).decode


class Lesson(Struct, frozen=True):
    """What one refusal taught. The request may be sent once more."""

    line: str
    """For the catalogue, to spare other processes the refusal."""
    new: bool
    """False: another request taught it while this one was under way."""


class _Known(Struct):
    """What one model refused."""

    names: dict[str, str | None] = field(default_factory=dict)
    """Parameter as it was sent -> the name to send it under; None: it is left out."""
    values: dict[str, dict[bytes, None]] = field(default_factory=dict)
    """Parameter -> the values it was refused with, the oldest first."""
    roles: dict[str, str] = field(default_factory=dict)


class LearntParameters:
    """The rules of each model: those of the catalogue, and what was learnt on top of them.

    Each lesson about a name takes that name out of what is sent, and no name comes back: a model can refuse no more
    often than there are names and values, and one request no more often than it has parameters.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self._said = {
            key: rules_of(catalogue.takes_of(key), f"the catalogue says what {key} takes")
            for key in catalogue.models
        }
        self._adaptations = dict(self._said)
        self._known: dict[str, _Known] = {}

    def adaptation(self, model: str) -> Adaptation:
        return self._adaptations[model]

    def learn(self, model: str, error: ProviderError | None, sent: bytes) -> Lesson | None:
        """Learn from a refusal of `sent`. None: there is nothing that could be sent otherwise."""
        if error is None or not error.parameter:
            return None
        fields = _decode_fields(sent)
        known = self._known.setdefault(model, _Known())
        role = _role_named(error)
        if role is not None:
            learnt = _learn_role(known, role, fields)
            lines = [f"{role}{ROLE_SUFFIX}: {known.roles[role]}"] if learnt is not None else []
        else:
            taught = {name: _learn_name(known, name, error, fields) for name in _names(error, fields)}
            lines = [self._line(model, name) for name, new in taught.items() if new is not None]
            learnt = any(taught.values()) if lines else None
        if learnt is None:
            return None
        if learnt:
            self._adaptations[model] = _on_top(self._said[model], known, f"{model} refused it before")
        return Lesson(f"models.{model}.takes: {{{', '.join(lines)}}}", learnt)

    def _line(self, model: str, name: str) -> str:
        said = self._said[model].parameters
        source = next((each for each, rule in said.items() if rule.name == name and rule.only is None), name)
        return f"{source}: {self._known[model].names.get(name) or 'no'}"


def _names(error: ProviderError, fields: Mapping[str, Raw]) -> Iterable[str]:
    """Parameters of the body that the refusal names, as they are called there."""
    for name in dict.fromkeys([error.parameter or "", *_UNKNOWN_NAMES.findall(error.message)]):
        root = re.split(r"[.\[]", name.strip().removeprefix("body."))[0]
        for each in (root, _WORD_BREAK.sub("_", root).lower()):
            if each in fields:
                yield each
                break


def _role_named(error: ProviderError) -> str | None:
    parameter = error.parameter or ""
    for role in _INSTEAD_OF:
        if parameter == role + ROLE_SUFFIX:
            return role
    if parameter.startswith("messages") and parameter.endswith("role"):
        return next((role for role in _INSTEAD_OF if role in error.message), None)
    return None


def _learn_role(known: _Known, role: str, fields: Mapping[str, Raw]) -> bool | None:
    """Whether it is new; None: no message that was sent has the role."""
    try:
        messages = _decode_messages(fields.get("messages", Raw(b"[]")))
    except msgspec.MsgspecError:
        return None
    if not any(role_of(message) == role for message in messages):
        return None
    if role in known.roles:
        return False
    instead = _INSTEAD_OF[role]
    known.roles[role] = known.roles.get(instead, instead)
    for other, name in known.roles.items():
        if name == role:
            known.roles[other] = known.roles[role]
    return True


def _learn_name(known: _Known, name: str, error: ProviderError, fields: Mapping[str, Raw]) -> bool | None:
    """Whether it is new; None: the request cannot do without it."""
    if name not in _OMITTABLE and name not in _OTHER_LIMIT:
        return None
    if name in known.names:
        return False
    instead = _replacement(name, error.message)
    if instead is not None or _is_whole(name, error):
        if name in _OTHER_LIMIT and instead is None:
            instead = _OTHER_LIMIT[name]
        if instead in known.names:
            instead = None
        if instead is None and name in _OTHER_LIMIT:
            return None
        known.names[name] = instead
        for other, sent_as in known.names.items():
            if sent_as == name:
                known.names[other] = instead
        return True
    return _learn_value(known, name, bytes(fields[name])) if name in _OMITTABLE else None


def _learn_value(known: _Known, name: str, value: bytes) -> bool | None:
    values = known.values.setdefault(name, {})
    if value in values:
        return False
    if len(value) > _VALUE_BYTES:
        return None
    while len(values) >= _VALUES_KEPT:
        del values[next(iter(values))]
    values[value] = None
    return True


def _is_whole(name: str, error: ProviderError) -> bool:
    message = error.message.lower()
    if error.code in _WHOLE_CODES or error.type in _WHOLE_CODES:
        return True
    if _CONDITION.search(message):
        return False
    spelled = rf"(?:{re.escape(name)}|{re.escape(name.replace('_', ''))})"
    return any(re.search(words.replace("NAME", spelled), message) for words in _WHOLE)


def _replacement(name: str, message: str) -> str | None:
    """The name to use instead, where the refusal says so. A single word may be a value."""
    found = _INSTEAD.search(message)
    if found is None:
        return None
    instead = found[1]
    is_name = "_" in instead or instead in _OMITTABLE
    same_kind = ("tokens" in instead) == (name in _OTHER_LIMIT)
    return instead if is_name and same_kind and instead != name and instead not in _KEPT else None


def _on_top(said: Adaptation, known: _Known, why: str) -> Adaptation:
    """The catalogue's rules with what was refused taken out of what they send."""
    parameters = dict(said.parameters)
    for name, instead in known.names.items():
        for source in _sent_as(name, said):
            parameters[source] = Rule(name=instead, why=why)
    for name, values in known.values.items():
        parameters.setdefault(name, Rule(name=name, why=why))
        for source, rule in parameters.items():
            if rule.name == name:
                parameters[source] = structs.replace(rule, refused=frozenset(values), why=why)
    roles = dict(said.roles)
    for role, rule in said.roles.items():
        if rule.name in known.roles:
            roles[role] = Rule(name=known.roles[rule.name], why=why)
    for role, replaced in known.roles.items():
        if role not in said.roles:
            roles[role] = Rule(name=replaced, why=why)
    return Adaptation(parameters, roles)


def _sent_as(name: str, said: Adaptation) -> Iterable[str]:
    """The parameters that the catalogue's rules send under `name`."""
    own = said.parameters.get(name)
    if own is None or own.name == name:
        yield name
    for source, rule in said.parameters.items():
        if rule.name == name and source != name:
            yield source
