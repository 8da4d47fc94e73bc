"""One write after the other to a shared record, by compare-and-set; a lost answer is cleared up before the next."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from math import inf
from typing import Final

import msgspec

from penstock.bus.clock import loop_now_s
from penstock.contract import codec
from penstock.contract.quota import QuotaCorrection, QuotaRecord
from services.worker.rate_limit.learned.rate import Refusal
from services.worker.rate_limit.record.allocation import Report, allocate, lease_of
from services.worker.rate_limit.record.record_clock import RecordClock
from services.worker.rate_limit.record.window import Kind
from services.worker.rate_limit.shared.replica import Replica
from services.worker.rate_limit.shared.store_protocol import Conflict, RecordStore, Stored, Unreachable
from services.worker.rate_limit.shared.write_schedule import is_worth_it

__all__ = ["CasWriter", "ReportedRefusal"]

_log: Final = logging.getLogger(__name__)
_CONFLICT_S: Final = 0.01


class _Pending(msgspec.Struct, frozen=True):
    """A write under way."""

    report: Report
    record: QuotaRecord
    revision: int
    """On top of which it is to be stored."""
    pause: tuple[float, str] | None
    """That it tells, unless it is the first."""


class ReportedRefusal(msgspec.Struct, frozen=True):
    """A 429 of a provider whose limit is learned; monotonic seconds, since the record's clock may not be known yet."""

    at_s: float
    began_s: float
    retry_after_s: float | None
    estimate: float | None
    counted: int

    def told(self, clock: RecordClock) -> Refusal:
        return Refusal(
            at_ms=clock.now_ms(self.at_s),
            began_ms=clock.now_ms(self.began_s),
            retry_after_s=self.retry_after_s,
            estimate=self.estimate,
            counted=self.counted,
        )


class CasWriter:
    """Pending reports and the write that stores them. Raises what `RecordStore` raises, but no Conflict."""

    def __init__(
        self,
        replica: Replica,
        records: RecordStore,
        random: Callable[[], float],
        on_grant: Callable[[], None],
    ) -> None:
        self._replica = replica
        self._records = records
        self._random = random
        self._on_grant = on_grant
        self._pending: _Pending | None = None
        self._pause: tuple[float, str] | None = None
        """Until when, in monotonic seconds, and why."""
        self.words: dict[str, QuotaCorrection] = {}
        """Not told yet, by limit."""
        self.refusals: tuple[ReportedRefusal, ...] = ()
        """Not told yet."""
        self._said: dict[Kind, int] = {}
        self.wrote_s = float("-inf")
        self.unanswered_since_s = inf
        """When the first request to the server began that was not answered, since the last one that was."""

    def report_pause(self, until_s: float, why: str) -> None:
        self._pause = (until_s, why)

    def report_correction(self, word: QuotaCorrection) -> None:
        self.words[word.limit] = word

    def report_refusal(self, refusal: ReportedRefusal) -> None:
        self.refusals = (*self.refusals, refusal)

    def report_header_limit(self, kind: Kind, per_minute: int) -> bool:
        """A limit that the provider's headers name; returns whether that is news."""
        learned = self._replica.record.learned
        known = None
        if learned is not None:
            known = learned.said_per_minute if kind == "requests" else learned.tokens_per_minute
        if per_minute == self._said.get(kind, known):
            return False
        self._said[kind] = per_minute
        return True

    async def read(self) -> Stored | None:
        self._asks()
        stored = await self._records.read(self._replica.key)
        self.unanswered_since_s = inf
        self._replica.read(stored, loop_now_s())
        return stored

    async def write(self, *, leaving: bool = False, anyway: bool = False) -> None:
        """Tell and ask, until it is stored; nothing if there is nothing to say. `anyway`: only that we are there, since
        the record's time may not be known yet.
        """
        replica = self._replica
        while True:
            if self._pending is not None:
                await self._find_out(self._pending)
            now_s = loop_now_s()
            self.words = {word.limit: word for word in replica.view.superseded(now_s)} | self.words
            report = replica.lease.report(
                replica.holder, now_s, paused=now_s < replica.cooldown.until_s, leaving=leaving
            )
            report = msgspec.structs.replace(
                report,
                pause=None if self._pause is None or anyway else self._told_pause(*self._pause),
                corrections=tuple(self.words.values()),
                queued=replica.queued(),
                refusals=() if anyway else tuple(each.told(replica.clock) for each in self.refusals),
                said=dict(self._said),
            )
            made = allocate(replica.record, report, replica.accounting, replica.clock.now_ms(now_s))
            if not (anyway or leaving or is_worth_it(replica, report, made)):
                return
            replica.lease.begin(report, made, now_s)
            self.wrote_s = now_s
            revision = replica.revision
            self._pending = _Pending(report, made.record, revision, self._pause)
            if await self._send(self._pending):
                return
            self._roll_back()
            await asyncio.sleep(self._random() * _CONFLICT_S)
            if replica.revision == revision:
                await self.read()

    async def _send(self, pending: _Pending) -> bool:
        """Whether it is stored; not, if somebody else wrote since."""
        replica = self._replica
        self._asks()
        try:
            revision = await self._records.write(replica.key, codec.encode(pending.record), pending.revision)
        except Conflict:
            self.unanswered_since_s = inf
            return False
        self.unanswered_since_s = inf
        if revision >= replica.revision:
            replica.take(pending.record, revision, loop_now_s())
        self._stored(pending.report)
        return True

    async def _find_out(self, pending: _Pending) -> None:
        """An answer was lost. If nobody wrote since, the same write is sent again: only one of the two can be
        stored. Otherwise the number of our lease in the record tells; and if the lease is gone, it was counted as
        spent, and all that we wanted to tell with it.
        """
        replica = self._replica
        await self.read()
        if replica.revision == pending.revision and replica.lease.alone is not None:
            # It was planned before the outage, and keeps nothing for what the others may have used in it.
            self._roll_back(may_land=True)
            return
        if replica.revision == pending.revision and await self._send(pending):
            return
        if replica.revision == pending.revision:
            await self.read()
        if replica.revision == pending.revision:
            raise Unreachable("somebody wrote, and what is read does not show it yet")
        found = lease_of(replica.record, replica.holder).number
        if found in {0, pending.report.number}:
            self._stored(pending.report)
            if found == 0:
                replica.lease.lost()
        else:
            self._roll_back()

    def _told_pause(self, until_s: float, why: str) -> tuple[int, str]:
        return self._replica.clock.now_ms(until_s), why

    def _asks(self) -> None:
        self.unanswered_since_s = min(self.unanswered_since_s, loop_now_s())

    def _roll_back(self, *, may_land: bool = False) -> None:
        self._pending = None
        self._replica.lease.roll_back(may_land=may_land)

    def _stored(self, report: Report) -> None:
        """What was told need not be told again; who waited may ask again."""
        told = None if self._pending is None else self._pending.pause
        self._pending = None
        if report.pause is not None and self._pause == told:
            self._pause = None
        self.refusals = self.refusals[len(report.refusals) :]
        self._said = {kind: each for kind, each in self._said.items() if report.said.get(kind) != each}
        for word in report.corrections:
            if self.words.get(word.limit) == word:
                del self.words[word.limit]
        self._replica.newcomer_needs_time = False
        was_alone = self._replica.lease.alone is not None
        if was_alone:
            _log.warning("the shared quota of %s is within reach again", self._replica.key)
        if self._replica.lease.stored() or was_alone:
            self._on_grant()
