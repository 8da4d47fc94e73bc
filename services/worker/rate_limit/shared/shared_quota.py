"""The limits that all workers share: `Quota` over leases from the record in `llm_quota` (C1, C4)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from math import inf
from typing import Final

from penstock.bus.clock import loop_now_s
from penstock.contract.quota import QuotaLearned
from penstock.runtime.config.catalogue import Batch, Limits
from services.worker.rate_limit.batch_reserve import BatchReserve
from services.worker.rate_limit.learned.rate import alive
from services.worker.rate_limit.limit import LimitName, Observation
from services.worker.rate_limit.limit_set import LimitUse
from services.worker.rate_limit.quota import Denied, LocalQuota, Need, Permit, QuotaKey
from services.worker.rate_limit.quota_forecast import KeyForecast
from services.worker.rate_limit.record.accounting import RecordAccounting
from services.worker.rate_limit.record.decode import decode_record
from services.worker.rate_limit.record.lease_settings import (
    LEARNED_LEASE_SETTINGS,
    LEASE_SETTINGS,
    Amounts,
    LeaseSettings,
)
from services.worker.rate_limit.shared.cas_writer import ReportedRefusal
from services.worker.rate_limit.shared.renewer import Renewer
from services.worker.rate_limit.shared.replica import Member
from services.worker.rate_limit.shared.store_protocol import RecordStore, Stored, Unreachable

__all__ = ["SharedQuota"]

_log: Final = logging.getLogger(__name__)
_UNREACHABLE_WAIT_S: Final = 0.25
"""Seconds that a request without a lease waits at least while the record cannot be reached."""
_STOP_S: Final = 2.0
"""Seconds for returning the leases at exit; docs/configuration.md adds up what an exit may take."""


class SharedQuota:
    """Implements `Quota`. A permit is spent from a lease that was granted before: no request waits for the network.

    A key without a configured limit needs no lease; it is counted locally until a limit is learned.
    """

    def __init__(
        self,
        limits: Mapping[QuotaKey, Limits],
        records: Mapping[QuotaKey, str],
        member: Member,
        store: RecordStore,
        *,
        batch: Batch,
        settings: LeaseSettings = LEASE_SETTINGS,
    ) -> None:
        """`records`: name of each key's record; keys of one group share one. `batch`: what that lane leaves free."""
        self._records = records
        self._member = member
        self._store = store
        self._batch = batch
        unlimited = [key for key, each in limits.items() if each.is_unlimited]
        self._unlimited = LocalQuota(
            {key: limits[key] for key in unlimited},
            {key: records[key] for key in unlimited},
            batch=batch,
            number_step=-1,
        )
        """Keys without a configured limit. Its permits have numbers below 1, those of a lease above 0."""
        self._unlimited_records = frozenset(records[key] for key in unlimited)
        self._renewers: dict[QuotaKey, Renewer | None] = dict.fromkeys(unlimited)
        self._by_record: dict[str, Renewer] = {}
        self._reserves: dict[str, BatchReserve] = {}
        self._waiting: dict[int, set[Renewer]] = {}
        """The records for which each denied request may be queued."""
        for key in limits.keys() - self._renewers.keys():
            name = records[key]
            if name not in self._by_record:
                self._add_renewer(name, RecordAccounting(limits[key], settings, batch.reserve_share))
            self._renewers[key] = self._by_record[name]

    @property
    def unlimited_models(self) -> frozenset[str]:
        """Models without a configured limit."""
        return frozenset(key.model for key, each in self._renewers.items() if each is None)

    async def start(self) -> None:
        """Join every record in the background, and read which limits other workers have learned."""
        for renewer in self._by_record.values():
            renewer.start()
        try:
            for name in self._unlimited_records:
                stored = await self._store.read(name)
                if stored is not None:
                    self._adopt_learned(name, stored, age_s=max(0.0, self._member.unix_s() - stored.at_s))
        except Unreachable as error:  # the next write of any of its workers reports it
            _log.warning("limits that other workers have learned are not known yet: %s", error)

    async def stop(self, within_s: float = _STOP_S) -> None:
        """Return the leases; those that JetStream does not take in time count as spent when they end."""
        await asyncio.gather(*(renewer.stop(within_s) for renewer in self._by_record.values()))

    def observe(self, record: str, stored: Stored) -> None:
        """Take an entry that any worker stored just now."""
        renewer = self._by_record.get(record)
        if renewer is not None:
            renewer.observe(stored)
        elif record in self._unlimited_records:
            self._adopt_learned(record, stored, age_s=0.0)

    def apply_pause(self, key: QuotaKey, until_s: float) -> None:
        """Apply a pause that another worker announced. A configured limit has it in its record."""
        if key in self._renewers and not self._has_configured_limit(key):
            self._unlimited.pause(key, until_s)

    @property
    def unreachable_records(self) -> tuple[str, ...]:
        return tuple(name for name, renewer in self._by_record.items() if renewer.is_unreachable)

    def try_acquire(self, key: QuotaKey, need: Need, now_s: float) -> Permit | Denied:
        renewer = self._renewers[key]
        if renewer is None:
            return self._unlimited.try_acquire(key, need, now_s)
        if renewer.accounting.is_learned:
            if not renewer.is_limiting(now_s):
                return self._unlimited.try_acquire(key, need, now_s)
            need = renewer.capped(need)
        reserve = self._reserves[renewer.key].reserve(now_s) if need.lane == "batch" else 0.0
        reserve_wait_s = self._reserve_wait_s(renewer, need.tokens, now_s) if reserve else None
        if reserve_wait_s is None and renewer.pause_state.wait_s(now_s) == 0:
            number = renewer.lease.acquire(need.tokens, now_s, need.waiter, batch_only=reserve > 0)
            if number is not None:
                renewer.pause_state.record_start(number, now_s)
                if need.lane == "batch":
                    self._reserves[renewer.key].record_start(now_s)
                return Permit(key, need.tokens, number)
        return self._denied(renewer, need, now_s, behind_reserve=reserve_wait_s is not None)

    def withdraw(self, waiter: int) -> None:
        for renewer in self._waiting.pop(waiter, ()):
            renewer.withdraw(waiter)

    def wait_s(self, key: QuotaKey, need: Need, now_s: float) -> float:
        renewer = self._limiting_renewer(key, now_s)
        if renewer is None:
            return self._unlimited.wait_s(key, need, now_s)
        if renewer.accounting.is_learned:
            need = renewer.capped(need)
        reserve_wait_s = None
        if need.lane == "batch" and self._reserves[renewer.key].reserve(now_s):
            reserve_wait_s = self._reserve_wait_s(renewer, need.tokens, now_s)
        if (
            reserve_wait_s is None
            and renewer.pause_state.wait_s(now_s) == 0
            and renewer.lease.has(need.tokens, now_s)
        ):
            return 0.0
        blocking = _blocking_limit(renewer, need, now_s)
        least_s = _UNREACHABLE_WAIT_S if renewer.is_unreachable else 0.0
        return max(least_s, reserve_wait_s or 0.0, 0.0 if blocking is None else blocking[0])

    def settle(self, permit: Permit, true_tokens: int, now_s: float) -> None:
        renewer = self._renewers[permit.key]
        if renewer is None or permit.number <= 0:
            self._unlimited.settle(permit, true_tokens, now_s)
            return
        lease = renewer.lease
        had_unreported = lease.has_unreported
        lease.settle(permit.number, true_tokens, now_s)
        if lease.has_unreported and not had_unreported:
            renewer.wake()
        renewer.pause_state.record_end(permit.number, true_tokens)
        if lease.demand.first is not None or renewer.view.others_wait:
            renewer.request_write()

    def pause(self, key: QuotaKey, until_s: float, why: str) -> float:
        renewer = self._renewers[key]
        if renewer is None:
            return self._unlimited.pause(key, until_s)
        if renewer.accounting.is_learned:  # in force also after the learned limit is dropped
            self._unlimited.pause(key, until_s)
        return renewer.pause(until_s, why)

    def refused(self, key: QuotaKey, retry_after_s: float | None, began_s: float, now_s: float) -> None:
        renewer = self._renewers[key]
        if renewer is not None and not renewer.accounting.is_learned:
            return
        refusal = self._unlimited.refusal(key, retry_after_s, began_s, now_s)
        if renewer is not None and renewer.learned(now_s) is not None:
            self._unlimited.learned_elsewhere(key)
        elif (
            refusal.estimate is None
            or not refusal.is_informative
            or (renewer is not None and renewer.is_learning_suspended(now_s))
        ):
            return
        renewer = renewer or self._learn(self._records[key])
        renewer.refused(ReportedRefusal(now_s, began_s, retry_after_s, refusal.estimate, refusal.counted))

    def learned(self, key: QuotaKey, now_s: float) -> QuotaLearned | None:
        renewer = self._renewers[key]
        return None if renewer is None or not renewer.accounting.is_learned else renewer.learned(now_s)

    def correct(self, key: QuotaKey, observation: Observation, now_s: float) -> None:
        renewer = self._renewers[key]
        if renewer is None or renewer.accounting.is_learned:
            self._unlimited.correct(key, observation, now_s)
        if renewer is not None:
            renewer.correct(observation, now_s)

    def usage(self, key: QuotaKey, now_s: float) -> tuple[LimitUse, ...]:
        renewer = self._renewers[key]
        if renewer is None or renewer.accounting.is_learned:
            return ()
        return renewer.view.usage(now_s)

    def forecast(self, key: QuotaKey, now_s: float) -> KeyForecast:
        renewer = self._limiting_renewer(key, now_s)
        if renewer is None:
            return self._unlimited.forecast(key, now_s)
        return KeyForecast(
            recoveries=renewer.view.recoveries(renewer.lease.unreported, now_s),
            paused_s=renewer.pause_state.wait_s(now_s),
            concurrency=renewer.accounting.limits.concurrency,
            source=renewer.key,
        )

    def blocking_limit(self, key: QuotaKey, need: Need, now_s: float) -> LimitName | None:
        if not self._has_configured_limit(key):
            return None
        renewer = self._by_record[self._records[key]]
        if renewer.pause_state.wait_s(now_s) == 0 and renewer.lease.has(need.tokens, now_s):
            return None
        found = _blocking_limit(renewer, need, now_s)
        return None if found is None or found[1] == "paused" else found[1]

    def record(self, key: QuotaKey) -> str:
        return self._records[key] if self._has_configured_limit(key) else ""

    def _has_configured_limit(self, key: QuotaKey) -> bool:
        renewer = self._renewers[key]
        return renewer is not None and not renewer.accounting.is_learned

    def _limiting_renewer(self, key: QuotaKey, now_s: float) -> Renewer | None:
        """The renewer of the key's limits; None: there is no limit in force."""
        renewer = self._renewers[key]
        return renewer if renewer is None or renewer.is_limiting(now_s) else None

    def _add_renewer(self, record: str, accounting: RecordAccounting) -> Renewer:
        models = frozenset(key.model for key, name in self._records.items() if name == record)
        renewer = Renewer(record, models, accounting, self._member, self._store)
        self._by_record[record] = renewer
        self._reserves[record] = BatchReserve(self._batch)
        return renewer

    def _adopt_learned(self, record: str, stored: Stored, age_s: float) -> None:
        """Join a record in which another worker has learned a limit. What this worker has called so far adds up with
        what the others have called, where it was refused here too.
        """
        found = decode_record(record, stored.data)
        if found is None or not alive(found.learned, found.at_ms + int(age_s * 1000)):
            return
        now_s = loop_now_s()
        keys = [key for key, each in self._renewers.items() if each is None and self._records[key] == record]
        refusals = [self._unlimited.last_refusal(key, now_s) for key in keys]
        renewer = self._learn(record)
        for began_s, counted in filter(None, refusals):
            renewer.refused(ReportedRefusal(now_s, began_s, None, None, counted))

    def _learn(self, record: str) -> Renewer:
        """Lease a learned limit from now on, shared by all workers."""
        renewer = self._by_record.get(record)
        if renewer is not None:
            return renewer
        accounting = RecordAccounting(
            Limits(), LEARNED_LEASE_SETTINGS, self._batch.reserve_share, is_learned=True
        )
        renewer = self._add_renewer(record, accounting)
        for key in self._renewers:
            if self._records[key] == record:
                self._renewers[key] = renewer
                self._unlimited.learned_elsewhere(key)
        renewer.start()
        return renewer

    def _reserve_wait_s(self, renewer: Renewer, tokens: int, now_s: float) -> float | None:
        """Seconds until a batch request leaves the reserve free; None: it does so now."""
        whole = renewer.need(tokens) + renewer.lease.unreported
        found = renewer.view.wait_s(whole, now_s, leave_reserve=True)
        if found is None:
            return None
        return max(0.0, min(found[0], self._reserves[renewer.key].due_at_s(now_s) - now_s))

    def _denied(self, renewer: Renewer, need: Need, now_s: float, *, behind_reserve: bool) -> Denied:
        found = _blocking_limit(renewer, need, now_s)
        if found is not None and found[0] == inf:
            return Denied()
        if behind_reserve:
            # It requests no lease: what it may not use must stay available to the other workers.
            renewer.withdraw(need.waiter)
            return Denied()
        if found is None or found[1] != "paused":
            self._enqueue(renewer, need, now_s)
        return Denied(leasing=found is None)

    def _enqueue(self, renewer: Renewer, need: Need, now_s: float) -> None:
        batch_only = need.lane == "batch" and self._reserves[renewer.key].reserve(now_s) > 0
        self._waiting.setdefault(need.waiter, set()).add(renewer)
        renewer.lease.demand.enqueue(need.tokens, now_s, need.waiter, batch_only=batch_only)
        renewer.request_write()


def _blocking_limit(renewer: Renewer, need: Need, now_s: float) -> tuple[float, LimitName] | None:
    """Seconds until a request may be admitted, and the limit that blocks it; None: no known limit does."""
    tokens = need.tokens
    if renewer.accounting.counts_tokens and tokens > renewer.accounting.largest_tokens:
        return inf, "tokens_per_minute"
    paused_s = renewer.pause_state.wait_s(now_s)
    if paused_s > 0:
        return paused_s, "paused"
    whole, before = renewer.need(tokens), renewer.lease.demand.before(need.waiter)
    if before is not None:
        # No lease comes for it before the one for the longest waiting request of this worker.
        first = renewer.need(before)
        whole = Amounts(whole.requests + first.requests, whole.tokens + first.tokens, whole.slots + 1)
    return renewer.view.wait_s(whole, now_s)
