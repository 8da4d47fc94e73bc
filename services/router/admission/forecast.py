"""A role's prospect, from what all living workers say: slots, service times, quotas and who shares them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import ceil, inf
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from penstock.bus.log_limits import rate_limited_logger
from penstock.contract.names import LANES, Lane
from penstock.contract.presence import QuotaForecast, RoleStatus
from penstock.runtime.config.catalogue import Batch
from services.router.admission.policy import Pool, Prospect, SlotPace
from services.router.admission.queue_position import Crowd
from services.router.admission.quota_curve import UNLIMITED, Supply, supply_of
from services.router.admission.service_curve import Quota, flow_of

__all__ = ["Counted", "Forecast", "Word", "prospect_of", "still_speaking"]

_log: Final = rate_limited_logger(__name__)
_BLIND_S: Final = 0.2
"""So far a beat and a count may lie apart beyond what is put right."""
_SILENT_S: Final = 5.0
"""Two beats are missing."""
_MOST_CALLS: Final = 3.0
"""Calls per request that are believed in: a bad minute does not last for ever."""


class Forecast(Struct):
    """What a worker says of one quota; seconds from when it said so."""

    model: str
    source: str
    told: QuotaForecast
    paused_s: float
    breaker_s: float
    concurrency: int | None
    _supply: Supply | None = None

    @property
    def supply(self) -> Supply:
        """Reckoned when it is asked for: of many workers' words on one quota only the freshest is."""
        if self._supply is None:
            try:
                self._supply = supply_of(self.told)
            except Exception:  # noqa: BLE001 - one word is worth nothing, and the door has to decide
                _log.exception("what is said of the quota %s cannot be taken up", self.source)
                self._supply = UNLIMITED
        return self._supply


class Counted(Struct, frozen=True):
    """The last count of the mailboxes."""

    at_s: float
    left_since: Callable[[float], float] = lambda _: inf
    """The most that can have left them between an instant and this count."""


class Word(Struct, frozen=True):
    """The last that was heard of one worker."""

    heard_s: float
    roles: Mapping[str, RoleStatus]
    ends_per_s: Mapping[str, float]
    """Requests of each role that came to their end there, between the last two beats."""
    since_s: float
    """Between these two; no rate is believed in for longer than it was measured."""
    forecasts: tuple[Forecast, ...]


def still_speaking(words: Sequence[Word]) -> tuple[Word, ...]:
    """Without those who fell silent while others of their role spoke: nobody shall wait for what a dead one could do.

    Who is alone in its role is believed for as long as it is taken for alive; and when all are silent it may be the
    router that does not hear.
    """
    latest_s: dict[str, float] = {}
    for word in words:
        for role in word.roles:
            latest_s[role] = max(latest_s.get(role, -inf), word.heard_s)
    found = []
    for word in words:
        roles = {
            role: status for role, status in word.roles.items() if latest_s[role] - word.heard_s <= _SILENT_S
        }
        if len(roles) == len(word.roles):
            found.append(word)
        elif roles:
            found.append(replace(word, roles=roles))
    return tuple(found)


def prospect_of(
    role: str, chains: Mapping[str, frozenset[str]], words: Sequence[Word], counted: Counted, batch: Batch
) -> Prospect | None:
    said = [word.roles[role] for word in words if role in word.roles]
    if not said or role not in chains:
        return None
    longest = [status.longest_ms for status in said if status.longest_ms is not None]
    models = chains[role]
    within = frozenset(each for each, chain in chains.items() if chain <= models)
    sharers, reach = _component(role, chains)
    pools = [_pool(within, models, words, counted, batch)]
    if reach != models or sharers != within:
        pools.append(_pool(sharers, reach, words, counted, batch))
    return Prospect(
        role=role,
        lanes={lane: _slot_pace(said, lane) for lane in LANES},
        longest_s=max(longest, default=0) / 1000,
        pools=tuple(pool for pool in pools if pool is not None),
    )


def _component(role: str, chains: Mapping[str, frozenset[str]]) -> tuple[frozenset[str], frozenset[str]]:
    """All roles that share a model with this one, or with one that does; and all their models."""
    models = chains[role]
    while True:
        roles = frozenset(each for each, chain in chains.items() if chain & models)
        reach = frozenset().union(*(chains[each] for each in roles))
        if reach == models:
            return roles, models
        models = reach


def _slot_pace(said: Iterable[RoleStatus], lane: Lane) -> SlotPace:
    """Slots of workers that have not served the role yet work at the pace of the others."""
    counts = [(status.slots if lane == "interactive" else status.batch_slots, status) for status in said]
    slots = sum(count for count, _ in counts)
    known = [(count, status.service_ms) for count, status in counts if status.service_ms is not None]
    measured = sum(count for count, _ in known)
    if not measured:
        return SlotPace(slots, inf)
    mean_s = sum(count * took_ms for count, took_ms in known) / measured / 1000
    return SlotPace(slots, slots / mean_s if mean_s > 0 else inf)


def _pool(
    roles: frozenset[str], models: frozenset[str], words: Sequence[Word], counted: Counted, batch: Batch
) -> Pool | None:
    """None: nobody says a word of its quotas."""
    quotas, concurrency = _quotas(models, words)
    by_role: dict[str, list[RoleStatus]] = {}
    calling = unseen = 0.0
    for word in words:
        for role in word.roles.keys() & roles:
            status = word.roles[role]
            by_role.setdefault(role, []).append(status)
            # Of what came in since the beat, those that have ended are in no count: below nothing, then.
            per_s = word.ends_per_s.get(role, 0.0)
            ended = per_s * min(max(0.0, counted.at_s - word.heard_s), word.since_s)
            ended = min(ended, counted.left_since(word.heard_s))  # the burst may be over
            unseen += ceil(per_s * _BLIND_S)
            calling += status.calling - ended
    paces = {lane: [_slot_pace(said, lane) for said in by_role.values()] for lane in LANES}
    slots = {lane: sum(pace.slots for pace in paces[lane]) for lane in LANES}
    pace_per_s = sum(pace.per_s for lane in LANES for pace in paces[lane])
    at_once = sum(slots.values())
    if concurrency < at_once:  # the providers allow fewer than there are slots
        pace_per_s *= concurrency / at_once
        at_once = int(concurrency)
    flow = flow_of(quotas, _calls_each(by_role.values()), max(0.0, at_once - max(0.0, calling)), pace_per_s)
    if flow is None:
        return None
    share = slots["batch"] / slots["interactive"] if slots["interactive"] else 1.0
    batch_per_s = len(words) / batch.patience_s if batch.reserve > 0 and batch.patience_s > 0 else None
    return Pool(Crowd(tuple(sorted(roles)), calling, unseen, share, batch_per_s), flow)


def _calls_each(said: Iterable[Iterable[RoleStatus]]) -> float:
    most = max((status.calls_each for statuses in said for status in statuses), default=1.0)
    return min(_MOST_CALLS, max(1.0, most))


def _quotas(models: frozenset[str], words: Sequence[Word]) -> tuple[list[Quota], float]:
    """Each quota once, by the freshest word on it; and how many calls all of them let run at once.

    A pause holds for all who share the quota, a breaker only for the worker whose it is.
    """
    freshest: dict[str, tuple[float, Forecast]] = {}
    opens_s: dict[str, float] = {}
    for word in words:
        for each in word.forecasts:
            if each.model not in models:
                continue
            opens_s[each.source] = min(opens_s.get(each.source, inf), word.heard_s + each.breaker_s)
            if each.source not in freshest or freshest[each.source][0] < word.heard_s:
                freshest[each.source] = (word.heard_s, each)
    quotas = [
        Quota(each.supply, heard_s, max(heard_s + each.paused_s, opens_s[source]))
        for source, (heard_s, each) in freshest.items()
    ]
    concurrency = sum(inf if each.concurrency is None else each.concurrency for _, each in freshest.values())
    return quotas, concurrency
