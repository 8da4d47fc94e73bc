"""Keeps one quota's lease: joins the record, renews before the desk runs dry, hears what others write."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Final

import msgspec

from penstock.clock import loop_now_s
from schemas import codec
from schemas.quota import QuotaCorrection, QuotaRecord
from services.worker.lease_clock import RecordClock
from services.worker.lease_desk import Desk
from services.worker.lease_policy import Plan, Report, lease_of, plan
from services.worker.lease_records import Conflict, Records, Stored, Unreachable
from services.worker.lease_revival import revived
from services.worker.lease_room import Book
from services.worker.lease_share import alone
from services.worker.lease_terms import Amounts
from services.worker.lease_view import View
from services.worker.meter import Observation
from services.worker.reopening import Reopening

__all__ = ["Keeper"]

_log: Final = logging.getLogger(__name__)
_PACE_S: Final = 0.1
"""Between two writes that are in no hurry; a pause is written at once."""
_TELL_S: Final = 0.5
"""What was spent is told after this long."""
_AGAIN_S: Final = 0.5
"""After the record could not be reached."""
_ANSWER_S: Final = 0.2
"""A newcomer waits this long for those who know the record's time."""
_GAP_S: Final = 1.0
_CONFLICT_S: Final = 0.01
_SOON_S: Final = 0.05


class _Pending(msgspec.Struct, frozen=True):
    """A write under way."""

    report: Report
    record: QuotaRecord
    revision: int
    """On top of which it is to be stored."""


class Keeper:
    """The I/O of one (credential or quota group, model); the desk and the policy decide."""

    def __init__(self, key: str, holder: str, book: Book, random: Callable[[], float]) -> None:
        self.key = key
        self.holder = holder
        self.book = book
        self.clock = RecordClock()
        self.view = View(holder, self.book, self.clock)
        self.desk = Desk(self.book, self.clock, self.poke)
        self.gate = Reopening()
        self._random = random
        self._revision = 0
        self._joined = False
        self._behind = False
        self._urgent = False
        self._pause: tuple[int, str] | None = None
        self._words: dict[str, QuotaCorrection] = {}
        self._wrote_s = float("-inf")
        self._reached_s = float("-inf")
        self._pending: _Pending | None = None
        self._poked = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.on_grant: Callable[[], None] = lambda: None

    async def start(self, records: Records) -> None:
        self._records = records
        self._reached_s = loop_now_s()
        self._task = asyncio.create_task(self._run(), name=f"quota {self.key}")
        self._task.add_done_callback(_ended)

    async def stop(self) -> None:
        """Give everything back; if that fails, the lease's end does it."""
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        try:
            if self._joined:
                await self._write(leaving=True)
        except Unreachable as error:
            _log.warning("the lease of %s could not be given back: %s", self.key, error)

    def poke(self) -> None:
        """Write soon."""
        self._poked.set()

    def pause(self, until_s: float, why: str) -> None:
        """Here at once, and everywhere a moment later."""
        if not self.gate.pause(until_s, why):
            return
        self._pause = (self.clock.now_ms(until_s), why)
        self._urgent = True
        self.poke()

    def correct(self, word: Observation, now_s: float) -> None:
        found = self.view.correction(word, now_s)
        if found is not None:
            self._words[found.limit] = found
            self._urgent = True
            self.poke()

    def heard(self, stored: Stored) -> None:
        """Somebody wrote; perhaps it was us."""
        if stored.revision <= self._revision:
            return
        record = self._decoded(stored)
        now_s = loop_now_s()
        if record is None:
            return
        if self._joined and self.clock.is_behind(record.at_ms, now_s):
            self._behind = self._urgent = True
            self.poke()
        self._take(record, stored.revision, now_s)

    def _take(self, record: QuotaRecord, revision: int, now_s: float) -> None:
        self._revision = revision
        self.view.record = record
        self.clock.heard(record.at_ms, now_s)
        if lease_of(record, self.holder).number == 0:
            self.desk.lost()
        paused_until_s = self.clock.local_s(record.paused_until_ms)
        if paused_until_s > now_s:
            self.gate.pause(paused_until_s, record.pause_reason)
        if self.desk.demand.first is not None:
            self.poke()

    async def _run(self) -> None:
        while True:
            try:
                if not self._joined:
                    await self._join()
                await self._write()
            except Unreachable as error:
                self._out_of_reach(error)
                await asyncio.sleep(_AGAIN_S * (0.5 + self._random()))
            else:
                await self._rest()

    async def _rest(self) -> None:
        """Until there is something to write; then until a write is due again."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(self._due_s()):
                await self._poked.wait()
        self._poked.clear()
        while not self._urgent and (left_s := self._wrote_s + _PACE_S - loop_now_s()) > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left_s):
                    await self._poked.wait()
            self._poked.clear()
        self._urgent = False

    def _due_s(self) -> float:
        now_s = loop_now_s()
        terms = self.book.terms
        if not self.desk.holds and not self.desk.has_news and self.desk.demand.first is None:
            return max(now_s + _SOON_S, self._wrote_s + terms.member_ms / 3000)
        due = [self._wrote_s + terms.lease_ms / 3000]
        if self.desk.has_news:
            due.append(self._wrote_s + _TELL_S)
        if self.desk.holds and not self.desk.demand.is_idle(now_s):
            due.append(self.desk.demand.idle_at_s() + _SOON_S)
        first = self.desk.demand.first
        if first is not None:
            found = self.view.wait_s(self.need(first), now_s)
            wait_s = 0.0 if found is None else found[0]
            due.append(now_s + max(_SOON_S, wait_s, self.gate.until_s - now_s))
        return max(now_s + _SOON_S, min(due))

    def need(self, tokens: int) -> Amounts:
        """One request of so many tokens, as the record would have to grant it."""
        book = self.book
        return Amounts(
            int(book.counts_requests),
            tokens if book.counts_tokens else 0,
            self.desk.running + 1 if book.counts_slots else 0,
        )

    async def _join(self) -> None:
        """Say that we are there, and learn the record's time from those who know it.

        When nobody does, the server's clock tells how long nobody wrote. It is believed for nothing else: if it
        steps while anybody is there, nobody here notices.
        """
        before = await self._read()
        if self.view.record is None:
            self._take(QuotaRecord(at_ms=0), self._revision, loop_now_s())
        at_ms = self.view.record.at_ms if self.view.record is not None else 0
        await self._write(anyway=True)
        mine, wrote_s = self._revision, loop_now_s()
        if before is not None and before.data:
            await asyncio.sleep(_ANSWER_S)
            hello = await self._records.read(self.key)
            if hello is not None and hello.revision == mine and hello.at_s - before.at_s > _GAP_S:
                self.clock.heard(at_ms + int((hello.at_s - before.at_s) * 1000), wrote_s)
        self._joined = True

    async def _read(self) -> Stored | None:
        """The record as it is stored, or made again from memory if it is gone."""
        stored = await self._records.read(self.key)
        self._reached_s = now_s = loop_now_s()
        revision = 0 if stored is None else stored.revision
        record = None if stored is None else self._decoded(stored)
        known = self.view.record
        if known is not None and (record is None or self._is_newcomers(record, revision, now_s)):
            record = revived(known, record, self.holder, self.book, self.clock.now_ms(now_s))
            _log.warning("the shared quota of %s was lost; it is made again from memory", self.key)
        if record is not None:
            self._take(record, revision, now_s)
        else:
            self._revision = revision
        return stored

    def _is_newcomers(self, record: QuotaRecord, revision: int, now_s: float) -> bool:
        return revision < self._revision and self.clock.is_behind(record.at_ms, now_s)

    def _decoded(self, stored: Stored) -> QuotaRecord | None:
        if not stored.data:
            return None
        try:
            return codec.QUOTA.decode(stored.data)
        except msgspec.MsgspecError as error:
            _log.error("the record of %s cannot be read, and is begun anew: %s", self.key, error)
            return None

    async def _write(self, *, leaving: bool = False, anyway: bool = False) -> None:
        while True:
            if self._pending is not None:
                await self._find_out(self._pending)
            now_s = loop_now_s()
            paused = now_s < self.gate.until_s
            report = self.desk.report(self.holder, now_s, paused=paused, leaving=leaving)
            report = msgspec.structs.replace(
                report, pause=self._pause, corrections=tuple(self._words.values())
            )
            made = plan(self.view.record or QuotaRecord(at_ms=0), report, self.book, self.clock.now_ms(now_s))
            if not (anyway or leaving or self._behind or self._is_worth_it(report, made)):
                return
            self.desk.begin(report, made, now_s)
            self._wrote_s = now_s
            revision = self._revision
            self._pending = _Pending(report, made.record, revision)
            if await self._send(self._pending):
                return
            self._not_stored()
            await asyncio.sleep(self._random() * _CONFLICT_S)
            if self._revision == revision:
                await self._read()

    async def _send(self, pending: _Pending) -> bool:
        """Whether it is stored; not, if somebody else wrote since."""
        try:
            revision = await self._records.write(self.key, codec.encode(pending.record), pending.revision)
        except Conflict:
            return False
        if revision >= self._revision:
            self._take(pending.record, revision, loop_now_s())
        self._stored(pending.report)
        return True

    async def _find_out(self, pending: _Pending) -> None:
        """An answer was lost. If nobody wrote since, the same write is sent again: only one of the two can be
        stored. Otherwise the number of our lease in the record tells; and if the lease is gone, it was counted as
        spent, and all that we wanted to tell with it.
        """
        await self._read()
        if self._revision == pending.revision and await self._send(pending):
            return
        if self._revision == pending.revision:
            await self._read()
        found = 0 if self.view.record is None else lease_of(self.view.record, self.holder).number
        if found in {0, pending.report.number}:
            self._stored(pending.report)
            if found == 0:
                self.desk.lost()
        else:
            self._not_stored()

    def _not_stored(self) -> None:
        self._pending = None
        self.desk.not_stored()

    def _stored(self, report: Report) -> None:
        """What was told need not be told again; who waited may ask again."""
        self._pending = None
        self._reached_s = loop_now_s()
        if self._pause == report.pause:
            self._pause = None
        for word in report.corrections:
            if self._words.get(word.limit) == word:
                del self._words[word.limit]
        self._behind = False
        was_alone = self.desk.alone is not None
        if was_alone:
            _log.warning("the shared quota of %s is within reach again", self.key)
        if self.desk.stored() or was_alone:
            self.on_grant()

    def _is_worth_it(self, report: Report, made: Plan) -> bool:
        mine = lease_of(self.view.record or made.record, self.holder)
        terms = self.book.terms
        busy = made.waits or made.held != Amounts() or report.running > 0
        stale_ms = mine.until_ms - made.record.at_ms - (terms.lease_ms if busy else terms.member_ms) * 2 // 3
        return bool(
            report.spent
            or report.refunded
            or report.pause
            or report.corrections
            or made.held != Amounts(mine.requests, mine.tokens, mine.slots)
            or made.waits != (mine.waits_since_ms is not None)
            or stale_ms < 0
        )

    def _out_of_reach(self, error: Unreachable) -> None:
        now_s = loop_now_s()
        lease_s = self.book.terms.lease_ms / 1000
        if self.desk.alone is not None or now_s < max(self.desk.good_until_s, self._reached_s + lease_s):
            return  # a single lost answer is no reason
        if not self.clock.is_set:
            self.clock.heard(0, now_s)
        self.desk.alone = alone(self.book, self.view.record, self.clock.now_ms(now_s), now_s)
        _log.warning(
            "the shared quota of %s is out of reach (%s); this worker goes on with its static share",
            self.key,
            error,
        )
        self.on_grant()


def _ended(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.critical("%s ended: nothing more is leased", task.get_name(), exc_info=error)
