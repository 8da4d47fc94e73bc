"""The last word of each living worker, and what follows from all of them for a role."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from math import inf
from typing import Final

from msgspec.structs import replace

from penstock.contract.names import Role
from penstock.contract.presence import Presence as Beat
from penstock.contract.presence import RoleStatus
from penstock.runtime.config.catalogue import Batch, RoleConfig
from services.router.admission.forecast import Counted, Forecast, Word, prospect_of, still_speaking
from services.router.admission.policy import Prospect
from services.router.admission.quota_curve import amount

__all__ = ["Capacity"]

_KEPT_S: Final = 0.1
"""What is heard within this is taken up together: many workers beat often, and folding takes a millisecond."""

_FEW_WORDS: Final = 200
_WORD_S: Final = 0.004
"""Ten times what it takes to fold one."""


class Capacity:
    """No I/O; all instants are the router's monotonic seconds."""

    def __init__(self, roles: Mapping[Role, RoleConfig], batch: Batch) -> None:
        self._batch = batch
        self._chains = {str(role): frozenset(config.chain) for role, config in roles.items()}
        self._words: dict[str, Word] = {}
        self._speaking: tuple[Word, ...] = ()
        self._prospects: dict[str, Prospect | None] = {}
        self._built_s = -inf
        self._built_for_s = -inf
        self._changed = False

    def heard(self, instance: str, beat: Beat, now_s: float) -> None:
        """A beat is here. It is taken to have been made now: it is milliseconds old, and clocks may differ."""
        before = self._words.get(instance)
        roles = {str(status.role): _bounded(status) for status in beat.roles}
        self._words[instance] = Word(
            heard_s=now_s,
            roles=roles,
            ends_per_s={} if before is None else _ends_per_s(before, roles, now_s),
            since_s=0.0 if before is None else now_s - before.heard_s,
            forecasts=tuple(
                Forecast(
                    model=each.model,
                    source=each.source,
                    told=each,
                    paused_s=amount(each.paused_ms) / 1000,
                    breaker_s=amount(each.breaker_ms) / 1000,
                    concurrency=None if each.concurrency is None else max(1, amount(each.concurrency)),
                )
                for each in beat.forecasts
            ),
        )
        self._changed = True

    def keep(self, living: Collection[str]) -> None:
        """Forget everybody else."""
        for gone in self._words.keys() - set(living):
            del self._words[gone]
            self._changed = True

    def forget(self, instance: str) -> None:
        if self._words.pop(instance, None) is not None:
            self._changed = True

    def prospect(self, role: str, counted: Counted, now_s: float) -> Prospect | None:
        """None: nobody says a word of the role."""
        counted_s = counted.at_s
        news = counted_s != self._built_for_s or (self._changed and now_s - self._built_s >= _KEPT_S)
        if news and now_s - self._built_s >= self._kept_s():
            self._prospects.clear()
            self._speaking = still_speaking(tuple(self._words.values()))
            self._built_s, self._built_for_s, self._changed = now_s, counted_s, False
        if role not in self._prospects:
            self._prospects[role] = prospect_of(role, self._chains, self._speaking, counted, self._batch)
        return self._prospects[role]

    def _kept_s(self) -> float:
        """Many words, whoever says them, take long to fold: no more than a tenth of the time goes into it."""
        words = sum(len(word.forecasts) for word in self._words.values())
        return 0.0 if words <= _FEW_WORDS else words * _WORD_S


def _bounded(status: RoleStatus) -> RoleStatus:
    """Its figures, whoever wrote them, such that one can reckon with them."""
    return replace(
        status,
        slots=amount(status.slots),
        batch_slots=amount(status.batch_slots),
        calling=amount(status.calling),
        ended=amount(status.ended),
        service_ms=None if status.service_ms is None else amount(status.service_ms),
        longest_ms=None if status.longest_ms is None else amount(status.longest_ms),
    )


def _ends_per_s(before: Word, roles: Mapping[str, RoleStatus], now_s: float) -> dict[str, float]:
    elapsed_s = now_s - before.heard_s
    if elapsed_s <= 0:
        return dict(before.ends_per_s)
    return {
        role: max(0, status.ended - before.roles[role].ended) / elapsed_s
        for role, status in roles.items()
        if role in before.roles
    }
