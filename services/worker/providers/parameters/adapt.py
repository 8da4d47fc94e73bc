"""Adapts the parameters of a request to one model: renames, omits or replaces them, and reports each change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, Literal, Protocol

import msgspec
from msgspec import Raw, Struct

from penstock.contract.reply import Adapted
from penstock.runtime.config.parameter_mapping import ROLE_SUFFIX, Only, SentAs
from services.worker.providers.raw_json import ABSENT, decode_fields, decode_list, encoded

__all__ = ["AS_SENT", "OUTPUT_LIMITS", "Adaptation", "BodyAdapter", "ParameterRule", "role_of", "rules_of"]

OUTPUT_LIMITS: Final = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}
"""The names of the output limit, each with its replacement. A limit is never omitted: it bounds the cost of a call."""
_ROLE: Final = "role"

_decode_text: Final = msgspec.json.Decoder(str).decode
_decode_number: Final = msgspec.json.Decoder(float).decode
_encode: Final = msgspec.json.Encoder().encode


class ParameterRule(Struct, frozen=True, kw_only=True):
    """How one parameter is sent."""

    name: str | None
    """The name under which it is sent; None: it is omitted."""
    only: Raw | None = None
    """The value that replaces any requested one."""
    refused: frozenset[bytes] = frozenset()
    """Values, as JSON, with which it is omitted."""
    why: str


class BodyAdapter(Protocol):
    def apply(self, fields: dict[str, Raw]) -> tuple[Adapted, ...]:
        """Change the fields of a body. Returns the changes."""


class Adaptation(Struct, frozen=True):
    """The rules of one model."""

    parameters: Mapping[str, ParameterRule]
    roles: Mapping[str, ParameterRule]
    """Keyed by the role of a message."""

    def apply(self, fields: dict[str, Raw]) -> tuple[Adapted, ...]:
        """Change the fields of a body. Returns the changes; omitting a null is not one."""
        changes = [
            adapted
            for parameter in self.parameters.keys() & fields.keys()
            if (adapted := _apply_rule(parameter, self.parameters[parameter], fields)) is not None
        ]
        changes.sort(key=lambda adapted: adapted.parameter)
        if self.roles and "messages" in fields:
            changes += self._replace_roles(fields)
        return tuple(changes)

    def _replace_roles(self, fields: dict[str, Raw]) -> Iterable[Adapted]:
        text = bytes(fields["messages"])
        if not any(role.encode() in text for role in self.roles):
            return
        try:
            messages = [decode_fields(message) for message in decode_list(text)]
        except msgspec.MsgspecError:
            return  # the provider reports the error
        replaced = {role for message in messages if (role := role_of(message)) in self.roles}
        for message in messages:
            role = role_of(message)
            if role in replaced:
                message[_ROLE] = encoded(self.roles[role].name)
        if replaced:
            fields["messages"] = encoded(messages)
        for role in sorted(replaced):
            rule = self.roles[role]
            yield Adapted(
                parameter=role + ROLE_SUFFIX,
                change="replaced",
                sent=_encode(rule.name).decode(),
                why=rule.why,
            )


AS_SENT: Final = Adaptation({}, {})
"""The rules of a model that accepts every parameter."""


def rules_of(mapping: Mapping[str, SentAs], why: str) -> Adaptation:
    """The rules for the `parameter_mapping` of a catalogue."""
    parameters: dict[str, ParameterRule] = {}
    roles: dict[str, ParameterRule] = {}
    for parameter, sent_as in mapping.items():
        if sent_as is True:
            continue
        if parameter.endswith(ROLE_SUFFIX) and isinstance(sent_as, str):
            roles[parameter.removesuffix(ROLE_SUFFIX)] = ParameterRule(name=sent_as, why=why)
        elif isinstance(sent_as, Only):
            parameters[parameter] = ParameterRule(name=parameter, only=encoded(sent_as.only), why=why)
        else:
            parameters[parameter] = ParameterRule(name=sent_as or None, why=why)
    return Adaptation(parameters, roles) if parameters or roles else AS_SENT


def role_of(message: Mapping[str, Raw]) -> str:
    try:
        return _decode_text(message.get(_ROLE, ABSENT))
    except msgspec.MsgspecError:
        return ""


def _apply_rule(parameter: str, rule: ParameterRule, fields: dict[str, Raw]) -> Adapted | None:
    requested = fields[parameter]
    if requested == ABSENT:
        if rule.name != parameter:
            del fields[parameter]
        return None
    value = requested if rule.only is None else rule.only
    if rule.name is None or bytes(value) in rule.refused:
        del fields[parameter]
        return Adapted(parameter=parameter, change="omitted", why=rule.why)
    if rule.name != parameter:
        del fields[parameter]
        renamed = _put(fields, rule.name, value, is_limit=parameter in OUTPUT_LIMITS)
        change: Literal["renamed", "omitted"] = "renamed" if renamed else "omitted"
        return Adapted(parameter=parameter, change=change, sent=rule.name if renamed else "", why=rule.why)
    if value == requested:
        return None
    fields[parameter] = value
    return Adapted(parameter=parameter, change="replaced", sent=bytes(value).decode(), why=rule.why)


def _put(fields: dict[str, Raw], name: str, value: Raw, *, is_limit: bool) -> bool:
    """Whether the value is sent under its new name. A value that is there stays, except an output limit above it."""
    present = fields.get(name, ABSENT)
    if present != ABSENT and not (is_limit and _below(value, present)):
        return False
    fields[name] = value
    return True


def _below(value: Raw, other: Raw) -> bool:
    try:
        return _decode_number(value) < _decode_number(other)
    except msgspec.MsgspecError:
        return False
