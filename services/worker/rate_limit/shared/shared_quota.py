"""The limits as all workers share them: `Quota` over leases from the record in `llm_quota` (REQUIREMENTS C1, C4)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from math import inf
from typing import Final

from penstock.bus.clock import SYSTEM, loop_now_s
from penstock.contract.quota import QuotaLearned
from penstock.runtime.config.catalogue import Batch, Limits
from services.worker.rate_limit.batch_reserve import BatchReserve
from services.worker.rate_limit.forecast import Forecast
from services.worker.rate_limit.limit import Observation
from services.worker.rate_limit.limit_set import LimitName, LimitUse
from services.worker.rate_limit.quota import Denied, LocalQuota, Need, Permit, QuotaKey
from services.worker.rate_limit.record.accounting import RecordAccounting
from services.worker.rate_limit.record.lease_settings import (
    LEARNED_LEASE_SETTINGS,
    LEASE_SETTINGS,
    Amounts,
    LeaseSettings,
)
from services.worker.rate_limit.shared.cas_writer import ReportedRefusal
from services.worker.rate_limit.shared.renewer import Renewer
from services.worker.rate_limit.shared.shared_cooldowns import SharedPauses
from services.worker.rate_limit.shared.store_protocol import RecordStore, Stored

__all__ = ["SharedQuota"]

_SOON_S: Final = 0.25
"""A lease comes within milliseconds; who still has none after this long looks at the whole chain again."""


_GIVE_BACK_S: Final = 2.0
"""An exit waits no longer for a JetStream that is away; docs/configuration.md adds up what an exit may take."""


class SharedQuota:
    """Implements `Quota`. A permit is spent from what was leased before: no network on the way of a request.

    What has no limit of ours needs no lease; only its pauses are shared, until a limit is learned.
    """

    def __init__(
        self,
        limits: Mapping[QuotaKey, Limits],
        records: Mapping[QuotaKey, str],
        holder: str,
        random: Callable[[], float],
        settings: LeaseSettings = LEASE_SETTINGS,
        *,
        batch: Batch,
    ) -> None:
        """`records`: the record of each key; keys of one quota group have one. `holder`: the worker's instance.

        `batch`: what that lane leaves to the other one.
        """
        self._records = records
        unlimited = [key for key, each in limits.items() if each.is_unlimited]
        self._unlimited = LocalQuota(
            {key: limits[key] for key in unlimited},
            {key: records[key] for key in unlimited},
            batch=batch,
            number_step=-1,
        )
        """Of these it gives permits below 1, and a renewer those above."""
        self._pauses = SharedPauses(self._paused_elsewhere, self._learned_elsewhere, SYSTEM)
        self._holder, self._random, self._batch = holder, random, batch
        self._store: RecordStore | None = None
        self._on_grant: Callable[[], None] = lambda: None
        self._queued: Callable[[frozenset[str]], Mapping[str, int]] | None = None
        self._paused = frozenset(records[key] for key in unlimited)
        self._renewers: dict[QuotaKey, Renewer | None] = dict.fromkeys(unlimited)
        self._by_record: dict[str, Renewer] = {}
        self._reserves: dict[str, BatchReserve] = {}
        self._waiting: dict[int, set[Renewer]] = {}
        """Where each request that was refused may stand in line."""
        for key in limits.keys() - self._renewers.keys():
            name = records[key]
            if name not in self._by_record:
                self._by_record[name] = Renewer(
                    name, holder, RecordAccounting(limits[key], settings, batch.reserve), random
                )
                self._reserves[name] = BatchReserve(batch)
            self._renewers[key] = self._by_record[name]

    async def start(self, records: RecordStore, on_grant: Callable[[], None]) -> None:
        """Join every record, in the background. `on_grant`: called when those who wait should ask again."""
        self._store, self._on_grant = records, on_grant
        for renewer in self._by_record.values():
            renewer.on_grant = on_grant
            renewer.start(records)
        await self._pauses.start(records, self._paused)

    async def stop(self, within_s: float = _GIVE_BACK_S) -> None:
        """Give back what is leased; what JetStream does not take in time counts as spent when the lease ends."""
        await asyncio.gather(
            self._pauses.stop(), *(renewer.stop(within_s) for renewer in self._by_record.values())
        )

    def set_backlog(self, queued: Callable[[frozenset[str]], Mapping[str, int]]) -> None:
        """`queued`: how many requests wait, by mailbox, in those that live on any of some models."""
        self._queued = queued
        models: dict[Renewer, set[str]] = {}
        for key, renewer in self._renewers.items():
            if renewer is not None:
                models.setdefault(renewer, set()).add(key.model)
        for renewer, names in models.items():
            renewer.set_backlog(partial(queued, frozenset(names)))

    def observe(self, record: str, stored: Stored) -> None:
        """An entry was stored, by whomever."""
        renewer = self._by_record.get(record)
        if renewer is not None:
            renewer.observe(stored)
        elif record in self._paused:
            self._pauses.observe(record, stored)

    def _learned_elsewhere(self, record: str) -> None:
        """What was called here until now adds up with what the others called, where it was refused here too."""
        now_s = loop_now_s()
        for key in [key for key, renewer in self._renewers.items() if renewer is None]:
            if (
                self._records[key] == record
                and (found := self._unlimited.last_refusal(key, now_s)) is not None
            ):
                renewer = self._learn(record)
                if renewer is not None:
                    renewer.refused(ReportedRefusal(now_s, found[0], None, None, found[1]))
        self._learn(record)

    def _learn(self, record: str) -> Renewer | None:
        """A provider refuses more than some rate, which all workers learn and share from now on."""
        if self._store is None or record in self._by_record:
            return self._by_record.get(record)
        accounting = RecordAccounting(Limits(), LEARNED_LEASE_SETTINGS, self._batch.reserve, learns=True)
        renewer = self._by_record[record] = Renewer(record, self._holder, accounting, self._random)
        self._reserves[record] = BatchReserve(self._batch)
        models = set()
        for key in self._renewers:
            if self._records[key] == record:
                self._renewers[key] = renewer
                self._unlimited.learned_elsewhere(key)
                models.add(key.model)
        if self._queued is not None:
            renewer.set_backlog(partial(self._queued, frozenset(models)))
        renewer.on_grant = self._on_grant
        renewer.start(self._store)
        return renewer

    def _renewer(self, key: QuotaKey, now_s: float) -> Renewer | None:
        """Who keeps its limits; None: it has none, or none any longer."""
        renewer = self._renewers[key]
        return renewer if renewer is None or renewer.is_limiting(now_s) else None

    @property
    def out_of_reach(self) -> tuple[str, ...]:
        """The records out of reach, whose static share is used."""
        return tuple(name for name, renewer in self._by_record.items() if renewer.lease.alone is not None)

    def try_acquire(self, key: QuotaKey, need: Need, now_s: float) -> Permit | Denied:
        renewer = self._renewers[key]
        if renewer is None or not renewer.is_limiting(now_s):
            return self._unlimited.try_acquire(key, need, now_s)
        need = renewer.capped(need)
        reserve = self._reserves[renewer.key].reserve(now_s) if need.lane == "batch" else 0.0
        spared = self._behind_reserve(renewer, need.tokens, now_s) if reserve else None
        if spared is None and renewer.cooldown.wait_s(now_s) == 0:
            number = renewer.lease.acquire(need.tokens, now_s, reserve, need.waiter)
            if number is not None:
                renewer.cooldown.record_start(number, now_s)
                if need.lane == "batch":
                    self._reserves[renewer.key].record_start(now_s)
                return Permit(key, need.tokens, number)
        return self._denied(renewer, need, spared, now_s)

    def withdraw(self, waiter: int) -> None:
        for renewer in self._waiting.pop(waiter, ()):
            renewer.withdraw(waiter)

    def wait_s(self, key: QuotaKey, need: Need, now_s: float) -> float:
        renewer = self._renewer(key, now_s)
        if renewer is None:
            return self._unlimited.wait_s(key, need, now_s)
        need = renewer.capped(need)
        spared = None
        if need.lane == "batch" and self._reserves[renewer.key].reserve(now_s):
            spared = self._behind_reserve(renewer, need.tokens, now_s)
        if spared is None and renewer.cooldown.wait_s(now_s) == 0 and renewer.lease.has(need.tokens, now_s):
            return 0.0
        found = _blocking_limit(renewer, need, now_s)
        return max(0.0 if wait is None else wait[0] for wait in (spared, found))

    def settle(self, permit: Permit, true_tokens: int, now_s: float) -> None:
        renewer = self._renewers[permit.key]
        if renewer is None or permit.number <= 0:
            self._unlimited.settle(permit, true_tokens, now_s)
            return
        lease = renewer.lease
        had_news = lease.has_unreported
        lease.settle(permit.number, true_tokens, now_s)
        if lease.has_unreported and not had_news:
            renewer.wake()
        renewer.cooldown.record_end(permit.number, true_tokens)
        if lease.demand.first is not None or renewer.view.others_wait:
            renewer.request_write()

    def pause(self, key: QuotaKey, until_s: float, why: str) -> None:
        renewer = self._renewers[key]
        if renewer is None or renewer.accounting.learns:
            self._paused_elsewhere(self._records[key], until_s, why)
        if renewer is None:
            self._pauses.pause(self._records[key], until_s, why)
        else:
            renewer.pause(until_s, why)

    def refused(self, key: QuotaKey, retry_after_s: float | None, began_s: float, now_s: float) -> None:
        renewer = self._renewers[key]
        if renewer is not None and not renewer.accounting.learns:
            return
        refusal = self._unlimited.refusal(key, retry_after_s, began_s, now_s)
        if renewer is not None and renewer.learned(now_s) is not None:
            self._unlimited.learned_elsewhere(key)
        elif refusal.estimate is None or not refusal.teaches or (renewer and renewer.dropped(now_s)):
            return
        renewer = renewer or self._learn(self._records[key])
        if renewer is not None:
            renewer.refused(ReportedRefusal(now_s, began_s, retry_after_s, refusal.estimate, refusal.counted))

    def learned(self, key: QuotaKey, now_s: float) -> QuotaLearned | None:
        renewer = self._renewers[key]
        return None if renewer is None or not renewer.accounting.learns else renewer.learned(now_s)

    def correct(self, key: QuotaKey, observation: Observation, now_s: float) -> None:
        renewer = self._renewers[key]
        if renewer is None or renewer.accounting.learns:
            self._unlimited.correct(key, observation, now_s)
        if renewer is not None:
            renewer.correct(observation, now_s)

    def usage(self, key: QuotaKey, now_s: float) -> tuple[LimitUse, ...]:
        renewer = self._renewers[key]
        if renewer is None or renewer.accounting.learns:
            return ()
        return renewer.view.usage(now_s) if renewer.lease.alone is None else renewer.lease.alone.usage(now_s)

    def forecast(self, key: QuotaKey, now_s: float) -> Forecast:
        renewer = self._renewer(key, now_s)
        if renewer is None:
            return self._unlimited.forecast(key, now_s)
        if renewer.lease.alone is not None:
            return renewer.lease.alone.forecast(now_s)
        return Forecast(
            recoveries=renewer.view.recoveries(renewer.lease.unreported, now_s),
            paused_s=renewer.cooldown.wait_s(now_s),
            concurrency=renewer.accounting.limits.concurrency,
            source=renewer.key,
        )

    def blocking_limit(self, key: QuotaKey, need: Need, now_s: float) -> LimitName | None:
        renewer = self._renewers[key]
        if renewer is None or renewer.accounting.learns:
            return None
        if renewer.cooldown.wait_s(now_s) == 0 and renewer.lease.has(need.tokens, now_s):
            return None
        found = _blocking_limit(renewer, need, now_s)
        return None if found is None or found[1] == "paused" else found[1]

    def record(self, key: QuotaKey) -> str:
        renewer = self._renewers[key]
        return "" if renewer is None or renewer.accounting.learns else self._records[key]

    def _paused_elsewhere(self, record: str, until_s: float, why: str) -> None:
        for key, renewer in self._renewers.items():
            if (renewer is None or renewer.accounting.learns) and self._records[key] == record:
                self._unlimited.pause(key, until_s, why)

    def _behind_reserve(self, renewer: Renewer, tokens: int, now_s: float) -> tuple[float, LimitName] | None:
        """How long until a batch request leaves enough to the others, and of what; None: it does now."""
        lease, view = renewer.lease, renewer.view
        if lease.alone is None:
            own, unreported = renewer.need(tokens), lease.unreported
            whole = Amounts(own.requests + unreported.requests, own.tokens + unreported.tokens, own.slots)
            found = view.wait_s(whole, now_s, leave_reserve=True)
            if found is None:
                return None
            wait_s, limit = found
        else:
            if lease.alone.fits(tokens, now_s, renewer.accounting.batch_reserve):
                return None
            at_s, limit = lease.alone.blocking_limit(tokens, now_s, renewer.accounting.batch_reserve)
            wait_s = at_s - now_s
        return max(0.0, min(wait_s, self._reserves[renewer.key].due_at_s(now_s) - now_s)), limit

    def _denied(
        self, renewer: Renewer, need: Need, spared: tuple[float, LimitName] | None, now_s: float
    ) -> Denied:
        found = _blocking_limit(renewer, need, now_s)
        if found is not None and found[0] == inf:
            return Denied(inf, found[1], never=True)
        if spared is not None:
            # It asks for no lease: what it may not use shall not be reserved from the others either.
            renewer.withdraw(need.waiter)
            wait_s, limit = spared if found is None else max(spared, found)
            return Denied(now_s + wait_s, limit)
        if found is None:
            self._enqueue(renewer, need, now_s)
            return Denied(now_s + _SOON_S, "requests_per_minute", leasing=True)
        wait_s, limit = found
        if limit != "paused":
            self._enqueue(renewer, need, now_s)
        return Denied(now_s + wait_s, limit, why=renewer.cooldown.why if limit == "paused" else "")

    def _enqueue(self, renewer: Renewer, need: Need, now_s: float) -> None:
        batch_only = need.lane == "batch" and self._reserves[renewer.key].reserve(now_s) > 0
        self._waiting.setdefault(need.waiter, set()).add(renewer)
        renewer.lease.demand.refused(need.tokens, now_s, need.waiter, batch_only=batch_only)
        renewer.request_write()


def _blocking_limit(renewer: Renewer, need: Need, now_s: float) -> tuple[float, LimitName] | None:
    """How long until a request may be let through, and what keeps it; None: nothing we know of."""
    tokens = need.tokens
    if renewer.accounting.counts_tokens and tokens > renewer.accounting.largest_tokens:
        return inf, "tokens_per_minute"
    closed_s = renewer.cooldown.wait_s(now_s)
    if closed_s > 0:
        return closed_s, "paused"
    if renewer.lease.alone is not None:
        if renewer.lease.alone.fits(tokens, now_s):
            return None
        at_s, limit = renewer.lease.alone.blocking_limit(tokens, now_s)
        return (_SOON_S if at_s == inf else max(0.0, at_s - now_s)), limit
    whole, before = renewer.need(tokens), renewer.lease.demand.before(need.waiter)
    if before is not None:
        # No lease comes for it before the one for whom this worker stands in line has its own.
        first = renewer.need(before)
        whole = Amounts(whole.requests + first.requests, whole.tokens + first.tokens, whole.slots + 1)
    return renewer.view.wait_s(whole, now_s)
