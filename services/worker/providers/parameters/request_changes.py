"""What one request's body changes for one model, after that model refused it as it was sent."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Raw, Struct, field

from penstock.contract.reply import Adapted
from penstock.runtime.config.takes import ROLE_SUFFIX
from services.worker.providers.parameters.adapt import Adaptation, Adapts, Rule
from services.worker.providers.parameters.refusal import OUTPUT_LIMITS, Refused

__all__ = ["RequestChanges"]

_WHY: Final = "the model refused it in this request"

_decode_fields: Final = msgspec.json.Decoder(dict[str, Raw]).decode
_encode: Final = msgspec.json.Encoder().encode


class RequestChanges(Struct):
    """Applied on top of what holds for every request of the model."""

    made: list[Refused] = field(default_factory=list)
    """In the order of the refusals; each parameter is refused at most twice, the first time for a key within it."""
    pending: list[Refused] = field(default_factory=list)
    """Those for which no call has spoken yet."""

    def add(self, refused: Refused) -> Refused | None:
        """Change what was refused. Returns how; None: the request was sent otherwise already, to no avail."""
        before = [each for each in self.made if each.name == refused.name]
        if any(not each.path for each in before):
            return None
        if refused.path and before:  # without a key within it, it was refused again
            refused = Refused(name=refused.name)
        if any(each.name == refused.instead for each in self.made):
            if refused.name in OUTPUT_LIMITS:
                return None
            refused = Refused(name=refused.name)
        self.made.append(refused)
        self.pending.append(refused)
        return refused

    def on(self, rules: Adaptation) -> Adapts:
        """The rules of the model, and then these changes."""
        return _OnTop(rules, self)

    def apply(self, fields: dict[str, Raw], told: tuple[Adapted, ...]) -> tuple[Adapted, ...]:
        """Change the fields; `told`: what the rules of the model changed before."""
        all_told = {each.parameter: each for each in told}
        for each in self.made:
            if each.path:
                _leave_out_within(each, fields, all_told)
            elif each.is_role:
                rules = {each.name.removesuffix(ROLE_SUFFIX): Rule(name=each.instead, why=_WHY)}
                all_told |= {done.parameter: done for done in Adaptation({}, rules).apply(fields)}
            else:
                _change(each, fields, all_told)
        return tuple(
            sorted(all_told.values(), key=lambda each: (each.parameter.endswith(ROLE_SUFFIX), each.parameter))
        )


class _OnTop(Struct, frozen=True):
    rules: Adaptation
    changes: RequestChanges

    def apply(self, fields: dict[str, Raw]) -> tuple[Adapted, ...]:
        return self.changes.apply(fields, self.rules.apply(fields))


def _change(refused: Refused, fields: dict[str, Raw], told: dict[str, Adapted]) -> None:
    """Leave out or rename, and tell of it under the name that the application used."""
    rules = {refused.name: Rule(name=refused.instead, why=_WHY)}
    for done in Adaptation(rules, {}).apply(fields):
        renamed = (each.parameter for each in told.values() if each.sent == refused.name)
        source = next(renamed, refused.name)
        if done.sent == source:
            del told[source]
        else:
            told[source] = Adapted(parameter=source, change=done.change, sent=done.sent, why=done.why)


def _leave_out_within(refused: Refused, fields: dict[str, Raw], told: dict[str, Adapted]) -> None:
    """Leave out the key within the parameter; the parameter where it has no such key, or no other."""
    name = refused.name
    if name not in fields:
        return
    rest = _without(fields[name], refused.path)
    path = ".".join((name, *refused.path))
    if rest is None:
        del fields[name]
        told[name] = Adapted(parameter=name, change="omitted", why=_WHY)
    else:
        fields[name] = rest
        told[path] = Adapted(parameter=path, change="omitted", why=_WHY)


def _without(value: Raw, path: tuple[str, ...]) -> Raw | None:
    """The object without the key. None: it has no such key, or no other."""
    try:
        members = _decode_fields(value)
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
    return Raw(_encode(members)) if members else None
