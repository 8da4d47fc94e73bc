"""Learns which parameters a model refuses, for all requests to it. A learned rule expires after an hour.

A refusal changes only its own request (`request_changes.py`). It becomes a rule for all when a call with the change
succeeds: after one request on strong evidence, after several with different content on weak evidence. A rule that a
later call contradicts is removed at once.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

from msgspec import Struct, field, structs

from penstock.runtime.config.catalogue import Catalogue
from penstock.runtime.config.parameter_mapping import ROLE_SUFFIX
from services.worker.providers.errors.read_error import ProviderError
from services.worker.providers.parameters.adapt import OUTPUT_LIMITS, Adaptation, ParameterRule, rules_of
from services.worker.providers.parameters.refusal import RefusedParameter, read_refusal
from services.worker.providers.parameters.request_changes import RequestChanges
from services.worker.providers.raw_json import decode_fields

__all__ = ["LEARNED_FOR_S", "WEAK_EVIDENCE_REQUESTS", "LearnedParameters"]

LEARNED_FOR_S: Final = 3600.0
"""Seconds for which a learned rule holds: the model may change, and the rule may be wrong."""
WEAK_EVIDENCE_REQUESTS: Final = 3
"""Requests with different content that must agree where the evidence is weak."""
_MAX_RULES: Final = 64
"""Learned rules of one model; the oldest is dropped."""
_MAX_SUSPICIONS: Final = 32
"""Suspicions about one model; the oldest is dropped."""


_RuleKey = tuple[str, bytes | None]
"""The name of a parameter, and its refused value; None: it is refused with any value."""


class _LearnedRule(Struct, frozen=True):
    instead: str | None
    expires_s: float


class _Suspicion(Struct):
    """A refusal on weak evidence, and the contents of the requests that met it."""

    refused: RefusedParameter
    since_s: float
    contents: set[int] = field(default_factory=set)


class _ModelState(Struct):
    rules: dict[_RuleKey, _LearnedRule] = field(default_factory=dict)
    suspicions: dict[RefusedParameter, _Suspicion] = field(default_factory=dict)
    next_expiry_s: float = math.inf
    logged_s: dict[str, float] = field(default_factory=dict)
    """When each suggested catalogue line was logged."""


class LearnedParameters:
    """The rules of each model: those of the catalogue and the learned ones."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue_rules = {
            key: rules_of(
                catalogue.parameter_mapping_of(key), f"set by `parameter_mapping` of {key} in the catalogue"
            )
            for key in catalogue.models
        }
        self._adaptations = dict(self._catalogue_rules)
        self._states: dict[str, _ModelState] = {}

    def adaptation(self, model: str, now_s: float) -> Adaptation:
        state = self._states.get(model)
        if state is not None and state.next_expiry_s <= now_s:
            state.rules = {key: rule for key, rule in state.rules.items() if rule.expires_s > now_s}
            self._rebuild(model, state)
        return self._adaptations[model]

    def has_suspicions(self, model: str) -> bool:
        """Whether the success of an unchanged request could refute a suspicion."""
        state = self._states.get(model)
        return state is not None and bool(state.suspicions)

    def record_refusal(
        self, model: str, error: ProviderError | None, sent: bytes, request: RequestChanges, now_s: float
    ) -> tuple[bool, tuple[str, ...]]:
        """Record a refusal of `sent`. Returns whether the request was changed, and new lines for the catalogue."""
        if error is None or not error.parameter:
            return False, ()
        found = read_refusal(error, sent)
        state = self._states.setdefault(model, _ModelState())
        lines = self.record_other_failure(model, error, request, now_s)
        for refused in found:
            self._remove_refuted(model, state, refused)
        changed = [refused for refused in found if request.add(refused)]
        return bool(changed), lines

    def record_success(
        self, model: str, sent: bytes, request: RequestChanges | None, content: int, now_s: float
    ) -> tuple[str, ...]:
        """Record that `sent` succeeded. `content`: a hash of the application's request. Returns new lines for the
        catalogue.
        """
        state = self._states.get(model)
        if state is None:
            return ()
        if state.suspicions:
            _drop_refuted_suspicions(state, sent, now_s)
        lines: list[str] = []
        for refused in request.untested if request is not None else ():
            if _is_proven(state, refused, content, now_s):
                lines += self._learn(model, state, refused, now_s)
        if request is not None:
            request.untested.clear()
        return tuple(lines)

    def record_other_failure(
        self, model: str, error: ProviderError | None, request: RequestChanges, now_s: float
    ) -> tuple[str, ...]:
        """Record that the model accepted the changed parameters and refused the request for another reason: learn the
        omissions on strong evidence that the new refusal does not mention. Returns new lines for the catalogue.
        """
        state = self._states.get(model)
        if state is None or error is None:
            return ()
        lines: list[str] = []
        untested, request.untested = request.untested, []
        for refused in untested:
            if error.parameter in {refused.name, refused.instead} or refused.name in error.message:
                continue
            if refused.evidence == "strong" and refused.instead is None:
                lines += self._learn(model, state, refused, now_s)
            else:
                request.untested.append(refused)
        return tuple(lines)

    def _remove_refuted(self, model: str, state: _ModelState, refused: RefusedParameter) -> None:
        """Remove the rules whose new name is refused."""
        if refused.evidence != "strong" or refused.value is not None:
            return
        wrong = [key for key, rule in state.rules.items() if rule.instead == refused.name]
        for key in wrong:
            del state.rules[key]
        if wrong:
            self._rebuild(model, state)

    def _learn(
        self, model: str, state: _ModelState, refused: RefusedParameter, now_s: float
    ) -> Iterable[str]:
        """Add a rule. Yields a line for the catalogue, unless it was logged within the hour."""
        key = (refused.name, refused.value)
        is_new = key not in state.rules
        state.rules.pop(key, None)
        if refused.instead is not None and not refused.is_role:  # the model accepts the new name
            state.rules.pop((refused.instead, None), None)
        while len(state.rules) >= _MAX_RULES:
            del state.rules[next(iter(state.rules))]
        state.rules[key] = _LearnedRule(refused.instead, now_s + LEARNED_FOR_S)
        self._rebuild(model, state)
        line = self._catalogue_line(model, refused)
        state.logged_s = {each: at_s for each, at_s in state.logged_s.items() if now_s - at_s < LEARNED_FOR_S}
        if is_new and line not in state.logged_s and len(state.logged_s) < _MAX_RULES:
            state.logged_s[line] = now_s
            yield line

    def _catalogue_line(self, model: str, refused: RefusedParameter) -> str:
        rules = self._catalogue_rules[model].parameters
        name = refused.name
        source = next((each for each, rule in rules.items() if rule.name == name and rule.only is None), name)
        if refused.value is not None:
            value = refused.value.decode()
            return f"models.{model}.parameter_mapping: {{{source}: no}}, if it refuses values other than {value} too"
        return f"models.{model}.parameter_mapping: {{{source}: {refused.instead or 'no'}}}"

    def _rebuild(self, model: str, state: _ModelState) -> None:
        state.next_expiry_s = min((rule.expires_s for rule in state.rules.values()), default=math.inf)
        why = f"{model} refused it in an earlier request"
        of_catalogue = self._catalogue_rules[model]
        self._adaptations[model] = _combined(of_catalogue, state.rules, why) if state.rules else of_catalogue


def _drop_refuted_suspicions(state: _ModelState, sent: bytes, now_s: float) -> None:
    """Drop the suspicions that this successful call refutes, and old ones."""
    fields = decode_fields(sent)
    for key, suspicion in list(state.suspicions.items()):
        name, value = suspicion.refused.name, suspicion.refused.value
        accepted = name in fields and value in (None, bytes(fields[name]))
        if accepted or now_s - suspicion.since_s >= LEARNED_FOR_S:
            del state.suspicions[key]


def _is_proven(state: _ModelState, refused: RefusedParameter, content: int, now_s: float) -> bool:
    """Whether enough requests succeeded with the change."""
    if refused.path or refused.evidence == "none":
        return False
    if refused.evidence == "strong":
        return True
    if refused not in state.suspicions and len(state.suspicions) >= _MAX_SUSPICIONS:
        del state.suspicions[next(iter(state.suspicions))]
    suspicion = state.suspicions.setdefault(refused, _Suspicion(refused, now_s))
    suspicion.contents.add(content)
    if len(suspicion.contents) < WEAK_EVIDENCE_REQUESTS:
        return False
    del state.suspicions[refused]
    return True


def _combined(of_catalogue: Adaptation, learned: dict[_RuleKey, _LearnedRule], why: str) -> Adaptation:
    """The catalogue's rules, changed so that they send nothing that a learned rule excludes."""
    parameters, roles = dict(of_catalogue.parameters), dict(of_catalogue.roles)
    names = {name: rule.instead for (name, value), rule in learned.items() if value is None}
    for name in names:
        final = _final_name(name, names)
        if name.endswith(ROLE_SUFFIX):
            role = name.removesuffix(ROLE_SUFFIX)
            for source in (role, *(each for each, rule in of_catalogue.roles.items() if rule.name == role)):
                roles[source] = ParameterRule(name=final, why=why)
        else:
            for source in _sources_of(name, of_catalogue):
                parameters[source] = ParameterRule(name=final, why=why)
    values: dict[str, set[bytes]] = {}
    for name, value in learned:
        if value is not None:
            values.setdefault(name, set()).add(value)
    for name, refused in values.items():
        parameters.setdefault(name, ParameterRule(name=name, why=why))
        for source, rule in parameters.items():
            if rule.name == name:
                parameters[source] = structs.replace(rule, refused=frozenset(refused), why=why)
    return Adaptation(parameters, roles)


def _final_name(name: str, names: dict[str, str | None]) -> str | None:
    """The name at the end of a chain of renames; an output limit always has one."""
    is_role = name.endswith(ROLE_SUFFIX)
    seen, last = {name}, names[name]
    while last is not None:
        following = last + ROLE_SUFFIX if is_role else last
        if following not in names or following in seen:
            break
        seen.add(following)
        last = names[following]
    return OUTPUT_LIMITS[name] if last is None and name in OUTPUT_LIMITS else last


def _sources_of(name: str, rules: Adaptation) -> Iterable[str]:
    """The parameters that the rules send under `name`."""
    own = rules.parameters.get(name)
    if own is None or own.name == name:
        yield name
    for source, rule in rules.parameters.items():
        if rule.name == name and source != name:
            yield source
