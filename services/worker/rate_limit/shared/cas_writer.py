"""Writes to a shared record by compare-and-set, one at a time; a lost answer is resolved before the next write."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from math import inf
from typing import Final

import msgspec

from penstock.bus.clock import loop_now_s
from penstock.contract import codec
from penstock.contract.quota import QuotaCorrection, QuotaRecord
from services.worker.rate_limit.learned.rate import Refusal
from services.worker.rate_limit.record.allocation import Allocation, LeaseReport, allocate, lease_of
from services.worker.rate_limit.record.lease_settings import NOTHING, Amounts
from services.worker.rate_limit.record.record_clock import RecordClock
from services.worker.rate_limit.record.window_grains import Kind
from services.worker.rate_limit.shared.replica import Member, Replica
from services.worker.rate_limit.shared.store_protocol import Conflict, RecordStore, Stored, Unreachable

__all__ = ["CasWriter", "ReportedRefusal"]

_CONFLICT_S: Final = 0.01
"""Most seconds before a conflicting write is repeated."""


class _Pending(msgspec.Struct, frozen=True):
    """A write whose outcome is not known."""

    report: LeaseReport
    record: QuotaRecord
    revision: int
    """Revision that the write replaces."""
    replaced_ms: int
    """Time of the record that the write replaces: in a new bucket revisions begin anew."""
    pause: tuple[float, str] | None


class ReportedRefusal(msgspec.Struct, frozen=True):
    """A 429 of a provider whose limit is learned; monotonic seconds, since the record's time may not be known yet."""

    at_s: float
    began_s: float
    retry_after_s: float | None
    estimate: float | None
    counted: int

    def on(self, clock: RecordClock) -> Refusal:
        return Refusal(
            at_ms=clock.now_ms(self.at_s),
            began_ms=clock.now_ms(self.began_s),
            retry_after_s=self.retry_after_s,
            estimate=self.estimate,
            counted=self.counted,
        )


class CasWriter:
    """Pending reports, and the write that stores them. Raises what `RecordStore` raises, except Conflict."""

    def __init__(
        self,
        replica: Replica,
        store: RecordStore,
        member: Member,
        queued: Callable[[], Mapping[str, int] | None],
    ) -> None:
        """`queued`: requests waiting for this quota, by mailbox; None: not known."""
        self._replica = replica
        self._store = store
        self._member = member
        self._queued = queued
        self._pending: _Pending | None = None
        self._pause: tuple[float, str] | None = None
        """End in monotonic seconds, and reason."""
        self.corrections: dict[str, QuotaCorrection] = {}
        """By limit."""
        self.refusals: tuple[ReportedRefusal, ...] = ()
        self._header_limits: dict[Kind, int] = {}
        self.wrote_s = -inf
        self.unanswered_since_s = inf
        """When the first unanswered request to the server began, since the last one that was answered."""

    def report_pause(self, until_s: float, why: str) -> None:
        self._pause = (until_s, why)

    def report_correction(self, correction: QuotaCorrection) -> None:
        self.corrections[correction.limit] = correction

    def report_refusal(self, refusal: ReportedRefusal) -> None:
        self.refusals = (*self.refusals, refusal)

    def report_header_limit(self, kind: Kind, per_minute: int) -> bool:
        """Report a limit of a header; returns whether it differs from the known one."""
        learned = self._replica.record.learned
        known = None
        if learned is not None:
            known = learned.reported_per_minute if kind == "requests" else learned.tokens_per_minute
        if per_minute == self._header_limits.get(kind, known):
            return False
        self._header_limits[kind] = per_minute
        return True

    async def read(self) -> Stored | None:
        self._record_request()
        stored = await self._store.read(self._replica.key)
        self.unanswered_since_s = inf
        self._replica.load(stored, loop_now_s())
        return stored

    async def write(self, *, leaving: bool = False, joining: bool = False) -> None:
        """Report and renew, repeatedly until it is stored; do nothing if there is nothing to write.

        `joining`: only state our presence, since the record's time may not be known yet.
        """
        replica = self._replica
        while True:
            if self._pending is not None:
                await self._resolve(self._pending)
            now_s = loop_now_s()
            report = self._report(now_s, leaving=leaving, joining=joining)
            allocation = allocate(replica.record, report, replica.accounting, replica.clock.now_ms(now_s))
            if not (joining or leaving or self._is_worthwhile(report, allocation)):
                return
            replica.lease.begin(report, allocation, now_s)
            self.wrote_s = now_s
            revision = replica.revision
            self._pending = _Pending(report, allocation.record, revision, replica.record.at_ms, self._pause)
            if await self._send(self._pending):
                return
            self._roll_back()
            await asyncio.sleep(self._member.random() * _CONFLICT_S)
            if replica.revision == revision:
                await self.read()

    def _report(self, now_s: float, *, leaving: bool, joining: bool) -> LeaseReport:
        replica = self._replica
        own = {correction.limit: correction for correction in replica.view.superseded(now_s)}
        self.corrections = own | self.corrections
        report = replica.lease.report(
            replica.holder,
            now_s,
            paused=now_s < replica.pause_state.until_s,
            leaving=leaving,
            others_wait=replica.view.others_wait,
        )
        pause = None
        if self._pause is not None and not joining:
            pause = (replica.clock.now_ms(self._pause[0]), self._pause[1])
        return msgspec.structs.replace(
            report,
            pause=pause,
            corrections=tuple(self.corrections.values()),
            queued=self._queued(),
            refusals=() if joining else tuple(each.on(replica.clock) for each in self.refusals),
            header_limits=dict(self._header_limits),
        )

    def _is_worthwhile(self, report: LeaseReport, allocation: Allocation) -> bool:
        """Whether the write would change anything that another worker needs to know."""
        replica = self._replica
        mine = lease_of(replica.view.record or allocation.record, replica.holder)
        settings = replica.accounting.settings
        busy = allocation.waits or allocation.held != NOTHING or report.running > 0
        renewal_ms = (settings.lease_ms if busy else settings.member_ms) * 2 // 3
        return bool(
            replica.joining_worker_needs_time
            or report.spent
            or report.refunded
            or report.pause
            or report.corrections
            or report.refusals
            or report.header_limits
            or allocation.held != Amounts(mine.requests, mine.tokens, mine.slots)
            or allocation.waits != (mine.waits_since_ms is not None)
            or mine.until_ms - allocation.record.at_ms < renewal_ms
        )

    async def _send(self, pending: _Pending) -> bool:
        """Returns whether it is stored; it is not if another worker wrote meanwhile."""
        replica = self._replica
        self._record_request()
        try:
            revision = await self._store.write(replica.key, codec.encode(pending.record), pending.revision)
        except Conflict:
            self.unanswered_since_s = inf
            return False
        self.unanswered_since_s = inf
        if revision >= replica.revision:
            replica.adopt(pending.record, revision, loop_now_s())
        self._commit(pending)
        return True

    async def _resolve(self, pending: _Pending) -> None:
        """Find out whether a write with a lost answer was stored. If no other worker wrote since, it is sent again:
        only one of the two can be stored. Otherwise the number of our lease in the record decides; if the lease
        has ended, it was counted as spent, including all that the write reported.
        """
        replica = self._replica
        await self.read()
        if self._is_unchanged(pending) and await self._send(pending):
            return
        if self._is_unchanged(pending):
            await self.read()
        if self._is_unchanged(pending):
            raise Unreachable("another worker wrote, and a read does not show it yet")
        found = lease_of(replica.record, replica.holder).number
        if found in {0, pending.report.number}:
            self._commit(pending)
            if found == 0:
                replica.lease.revoke()
        else:
            self._roll_back()

    def _is_unchanged(self, pending: _Pending) -> bool:
        """Whether no other worker wrote since the write began, as far as is known."""
        replica = self._replica
        if replica.revision != pending.revision:
            return False
        return replica.revision == 0 or replica.record.at_ms == pending.replaced_ms

    def _record_request(self) -> None:
        self.unanswered_since_s = min(self.unanswered_since_s, loop_now_s())

    def _roll_back(self) -> None:
        self._pending = None
        self._replica.lease.roll_back()

    def _commit(self, pending: _Pending) -> None:
        """Drop the reports that are stored; waiting requests may ask again."""
        report = pending.report
        self._pending = None
        if report.pause is not None and self._pause == pending.pause:
            self._pause = None
        self.refusals = self.refusals[len(report.refusals) :]
        self._header_limits = {
            kind: each for kind, each in self._header_limits.items() if report.header_limits.get(kind) != each
        }
        for correction in report.corrections:
            if self.corrections.get(correction.limit) == correction:
                del self.corrections[correction.limit]
        self._replica.joining_worker_needs_time = False
        if self._replica.lease.commit():
            self._member.on_grant()
