"""What models turned out not to take, for all requests of a model: learnt slowly, and forgotten after an hour.

A refusal changes only the request that met with it (`request_changes.py`). It becomes a lesson when a call with the
change succeeded: after one such request where the evidence is strong, after several with different content where it
is weak. A lesson that a later call contradicts is unlearnt at once.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

import msgspec
from msgspec import Raw, Struct, field, structs

from penstock.runtime.config.catalogue import Catalogue
from penstock.runtime.config.takes import ROLE_SUFFIX
from services.worker.providers.errors.read_error import ProviderError
from services.worker.providers.parameters.adapt import Adaptation, Rule, rules_of
from services.worker.providers.parameters.refusal import OUTPUT_LIMITS, Refused, read_refusal
from services.worker.providers.parameters.request_changes import RequestChanges

__all__ = ["LEARNT_FOR_S", "SEVERAL", "LearntParameters"]

LEARNT_FOR_S: Final = 3600.0
"""A model may take tomorrow what it refuses today, and a lesson may be wrong."""
SEVERAL: Final = 3
"""Requests with different content that weak evidence takes."""
_LESSONS: Final = 64
"""Of one model; the oldest goes."""
_DOUBTS: Final = 32
"""What few requests met with, of one model; the oldest goes."""

_decode_fields: Final = msgspec.json.Decoder(dict[str, Raw]).decode

_What = tuple[str, bytes | None]
"""The name of a parameter, and the value for which it is refused; None: whatever the value."""


class _Lesson(Struct, frozen=True):
    instead: str | None
    until_s: float


class _Doubt(Struct):
    """A refusal that is not known to concern other requests."""

    refused: Refused
    since_s: float
    contents: set[int] = field(default_factory=set)


class _Known(Struct):
    """Of one model."""

    lessons: dict[_What, _Lesson] = field(default_factory=dict)
    doubts: dict[Refused, _Doubt] = field(default_factory=dict)
    lapses_s: float = math.inf
    """When the first lesson does."""
    logged_s: dict[str, float] = field(default_factory=dict)


class LearntParameters:
    """The rules of each model: those of the catalogue, and what was learnt on top of them."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._said = {
            key: rules_of(catalogue.takes_of(key), f"the catalogue says what {key} takes")
            for key in catalogue.models
        }
        self._adaptations = dict(self._said)
        self._known: dict[str, _Known] = {}

    def adaptation(self, model: str, now_s: float) -> Adaptation:
        known = self._known.get(model)
        if known is not None and known.lapses_s <= now_s:
            known.lessons = {what: each for what, each in known.lessons.items() if each.until_s > now_s}
            self._rebuild(model, known)
        return self._adaptations[model]

    def doubts(self, model: str) -> bool:
        """Whether a success without changes could contradict what few requests met with."""
        known = self._known.get(model)
        return known is not None and bool(known.doubts)

    def refused(
        self, model: str, error: ProviderError | None, sent: bytes, request: RequestChanges, now_s: float
    ) -> tuple[bool, tuple[str, ...]]:
        """Whether the request can be sent otherwise after a refusal of `sent`, and lines for the catalogue."""
        if error is None or not error.parameter:
            return False, ()
        found = read_refusal(error, sent)
        known = self._known.setdefault(model, _Known())
        lines = self.failed_otherwise(model, error, request, now_s)
        for each in found:
            self._unlearn(model, known, each)
        changed = [each for each in found if request.add(each) is not None]
        return bool(changed), lines

    def answered(
        self, model: str, sent: bytes, request: RequestChanges | None, content: int, now_s: float
    ) -> tuple[str, ...]:
        """A call succeeded. `content`: a hash of what the application sent. Returns new lines for the catalogue."""
        known = self._known.get(model)
        if known is None:
            return ()
        if known.doubts:
            self._settle_doubts(known, sent, now_s)
        lines: list[str] = []
        for each in request.pending if request is not None else ():
            if _is_proven(known, each, content, now_s):
                lines += self._learn(model, known, each, now_s)
        if request is not None:
            request.pending.clear()
        return tuple(lines)

    def failed_otherwise(
        self, model: str, error: ProviderError | None, request: RequestChanges, now_s: float
    ) -> tuple[str, ...]:
        """The model read the request and refused it. Learn what was left out on strong evidence, unless the refusal
        speaks of it again. Returns new lines for the catalogue.
        """
        known = self._known.get(model)
        if known is None or error is None:
            return ()
        lines: list[str] = []
        pending, request.pending = request.pending, []
        for each in pending:
            if error.parameter in {each.name, each.instead} or each.name in error.message:
                continue
            if each.evidence == "strong" and each.instead is None:
                lines += self._learn(model, known, each, now_s)
            else:
                request.pending.append(each)
        return tuple(lines)

    def _unlearn(self, model: str, known: _Known, refused: Refused) -> None:
        """A lesson's new name is refused: the lesson was wrong, or is no longer right."""
        if refused.evidence != "strong" or refused.value is not None:
            return
        wrong = [what for what, lesson in known.lessons.items() if lesson.instead == refused.name]
        for what in wrong:
            del known.lessons[what]
        if wrong:
            self._rebuild(model, known)

    def _learn(self, model: str, known: _Known, refused: Refused, now_s: float) -> Iterable[str]:
        """A line for the catalogue, unless it was told within the hour."""
        what = (refused.name, refused.value)
        new = what not in known.lessons
        known.lessons.pop(what, None)
        if refused.instead is not None and not refused.is_role:  # the new name is taken
            known.lessons.pop((refused.instead, None), None)
        while len(known.lessons) >= _LESSONS:
            del known.lessons[next(iter(known.lessons))]
        known.lessons[what] = _Lesson(refused.instead, now_s + LEARNT_FOR_S)
        self._rebuild(model, known)
        line = self._line(model, refused)
        known.logged_s = {each: at_s for each, at_s in known.logged_s.items() if now_s - at_s < LEARNT_FOR_S}
        if new and line not in known.logged_s and len(known.logged_s) < _LESSONS:
            known.logged_s[line] = now_s
            yield line

    def _line(self, model: str, refused: Refused) -> str:
        said = self._said[model].parameters
        name = refused.name
        source = next((each for each, rule in said.items() if rule.name == name and rule.only is None), name)
        if refused.value is not None:
            return f"models.{model}.takes: {{{source}: no}}, if it takes no value but {refused.value.decode()} either"
        return f"models.{model}.takes: {{{source}: {refused.instead or 'no'}}}"

    def _settle_doubts(self, known: _Known, sent: bytes, now_s: float) -> None:
        """Drop what this successful call shows to be wrong, and what is old."""
        fields = _decode_fields(sent)
        for key, doubt in list(known.doubts.items()):
            name, value = doubt.refused.name, doubt.refused.value
            taken = name in fields and value in (None, bytes(fields[name]))
            if taken or now_s - doubt.since_s >= LEARNT_FOR_S:
                del known.doubts[key]

    def _rebuild(self, model: str, known: _Known) -> None:
        known.lapses_s = min((each.until_s for each in known.lessons.values()), default=math.inf)
        why = f"{model} refused it before"
        said = self._said[model]
        self._adaptations[model] = _on_top(said, known.lessons, why) if known.lessons else said


def _is_proven(known: _Known, refused: Refused, content: int, now_s: float) -> bool:
    """Whether enough requests succeeded with the change."""
    if refused.path or refused.evidence == "none":
        return False
    if refused.evidence == "strong":
        return True
    if refused not in known.doubts and len(known.doubts) >= _DOUBTS:
        del known.doubts[next(iter(known.doubts))]
    doubt = known.doubts.setdefault(refused, _Doubt(refused, now_s))
    doubt.contents.add(content)
    if len(doubt.contents) < SEVERAL:
        return False
    del known.doubts[refused]
    return True


def _on_top(said: Adaptation, lessons: dict[_What, _Lesson], why: str) -> Adaptation:
    """The catalogue's rules with what was refused taken out of what they send."""
    parameters, roles = dict(said.parameters), dict(said.roles)
    names = {name: lesson.instead for (name, value), lesson in lessons.items() if value is None}
    for name in names:
        final = _last_name(name, names)
        if name.endswith(ROLE_SUFFIX):
            role = name.removesuffix(ROLE_SUFFIX)
            for source in (role, *(each for each, rule in said.roles.items() if rule.name == role)):
                roles[source] = Rule(name=final, why=why)
        else:
            for source in _sent_as(name, said):
                parameters[source] = Rule(name=final, why=why)
    values: dict[str, set[bytes]] = {}
    for name, value in lessons:
        if value is not None:
            values.setdefault(name, set()).add(value)
    for name, refused in values.items():
        parameters.setdefault(name, Rule(name=name, why=why))
        for source, rule in parameters.items():
            if rule.name == name:
                parameters[source] = structs.replace(rule, refused=frozenset(refused), why=why)
    return Adaptation(parameters, roles)


def _last_name(name: str, names: dict[str, str | None]) -> str | None:
    """Where the new name has a lesson too, that one's; an output limit always has a name."""
    is_role = name.endswith(ROLE_SUFFIX)
    seen, last = {name}, names[name]
    while last is not None:
        following = last + ROLE_SUFFIX if is_role else last
        if following not in names or following in seen:
            break
        seen.add(following)
        last = names[following]
    return OUTPUT_LIMITS[name] if last is None and name in OUTPUT_LIMITS else last


def _sent_as(name: str, said: Adaptation) -> Iterable[str]:
    """The parameters that the catalogue's rules send under `name`."""
    own = said.parameters.get(name)
    if own is None or own.name == name:
        yield name
    for source, rule in said.parameters.items():
        if rule.name == name and source != name:
            yield source
