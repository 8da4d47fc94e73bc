"""The changes to one request's body after a model refused a parameter in it."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Raw, Struct, field

from penstock.contract.reply import Adapted
from penstock.runtime.config.parameter_mapping import ROLE_SUFFIX
from services.worker.providers.parameters.adapt import OUTPUT_LIMITS, Adaptation, BodyAdapter, ParameterRule
from services.worker.providers.parameters.refusal import RefusedParameter
from services.worker.providers.raw_json import decode_fields, encoded

__all__ = ["RequestChanges"]

_WHY: Final = "the model refused it in this request"


class RequestChanges(Struct):
    """The changes, applied after the rules for all requests to the model."""

    refused: list[RefusedParameter] = field(default_factory=list)
    """In the order of the refusals. A parameter occurs at most twice, the first time for a key within it."""
    untested: list[RefusedParameter] = field(default_factory=list)
    """Those whose change no later call has shown to be right."""

    def add(self, refused: RefusedParameter) -> bool:
        """Change a refused parameter. False: the request was changed so before, without success."""
        before = [each for each in self.refused if each.name == refused.name]
        if any(not each.path for each in before):
            return False
        if refused.path and before:  # refused again after a key within it was omitted
            refused = RefusedParameter(name=refused.name)
        if any(each.name == refused.instead for each in self.refused):
            if refused.name in OUTPUT_LIMITS:
                return False
            refused = RefusedParameter(name=refused.name)
        self.refused.append(refused)
        self.untested.append(refused)
        return True

    def after(self, rules: Adaptation) -> BodyAdapter:
        """An adapter that applies the rules of the model and then these changes."""
        return _RulesThenChanges(rules, self)

    def apply(self, fields: dict[str, Raw], by_rules: tuple[Adapted, ...]) -> tuple[Adapted, ...]:
        """Change the fields. `by_rules`: the changes that the model's rules made. Returns all changes."""
        adapted = {each.parameter: each for each in by_rules}
        for each in self.refused:
            if each.path:
                _omit_key(each, fields, adapted)
            elif each.is_role:
                rules = {each.name.removesuffix(ROLE_SUFFIX): ParameterRule(name=each.instead, why=_WHY)}
                adapted |= {done.parameter: done for done in Adaptation({}, rules).apply(fields)}
            else:
                _change(each, fields, adapted)
        return tuple(
            sorted(adapted.values(), key=lambda each: (each.parameter.endswith(ROLE_SUFFIX), each.parameter))
        )


class _RulesThenChanges(Struct, frozen=True):
    rules: Adaptation
    changes: RequestChanges

    def apply(self, fields: dict[str, Raw]) -> tuple[Adapted, ...]:
        return self.changes.apply(fields, self.rules.apply(fields))


def _change(refused: RefusedParameter, fields: dict[str, Raw], adapted: dict[str, Adapted]) -> None:
    """Omit or rename the parameter, and report it under the name that the application used."""
    rules = {refused.name: ParameterRule(name=refused.instead, why=_WHY)}
    for done in Adaptation(rules, {}).apply(fields):
        renamed = (each.parameter for each in adapted.values() if each.sent == refused.name)
        source = next(renamed, refused.name)
        if done.sent == source:
            del adapted[source]
        else:
            adapted[source] = Adapted(parameter=source, change=done.change, sent=done.sent, why=done.why)


def _omit_key(refused: RefusedParameter, fields: dict[str, Raw], adapted: dict[str, Adapted]) -> None:
    """Omit the key within the parameter, or the whole parameter if it has no such key or no other."""
    name = refused.name
    if name not in fields:
        return
    rest = _without(fields[name], refused.path)
    path = ".".join((name, *refused.path))
    if rest is None:
        del fields[name]
        adapted[name] = Adapted(parameter=name, change="omitted", why=_WHY)
    else:
        fields[name] = rest
        adapted[path] = Adapted(parameter=path, change="omitted", why=_WHY)


def _without(value: Raw, path: tuple[str, ...]) -> Raw | None:
    """The object without the key; None if it has no such key or no other."""
    try:
        members = decode_fields(value)
    except msgspec.MsgspecError:
        return None
    whole = ".".join(path)
    if whole in members:
        del members[whole]
    elif len(path) > 1 and path[0] in members:
        rest = _without(members[path[0]], path[1:])
        if rest is None:
            del members[path[0]]
        else:
            members[path[0]] = rest
    else:
        return None
    return encoded(members) if members else None
