"""A worker's replica of one shared record, and what hangs on it: its clock, what it tells, the lease, the pause."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Final

from penstock.contract.quota import QuotaRecord
from services.worker.rate_limit.half_open import ONE_FIRST_FROM_S, Cooldown
from services.worker.rate_limit.learned.rate import alive
from services.worker.rate_limit.record.accounting import RecordAccounting
from services.worker.rate_limit.record.allocation import lease_of
from services.worker.rate_limit.record.decode import decode_record
from services.worker.rate_limit.record.lease_settings import Amounts
from services.worker.rate_limit.record.record_clock import RecordClock
from services.worker.rate_limit.record.record_view import RecordView
from services.worker.rate_limit.shared.local_lease import LocalLease
from services.worker.rate_limit.shared.recreate import rebuilt
from services.worker.rate_limit.shared.store_protocol import Stored

__all__ = ["Replica"]

_log: Final = logging.getLogger(__name__)
_EMPTY: Final = QuotaRecord(at_ms=0)


class Replica:
    """No I/O: it is handed what was read, observe or stored."""

    def __init__(
        self, key: str, holder: str, accounting: RecordAccounting, request_write: Callable[[], None]
    ) -> None:
        """`request_write`: called when a write should follow soon."""
        self.key = key
        self.holder = holder
        self.accounting = accounting
        self.clock = RecordClock()
        self.view = RecordView(holder, accounting, self.clock)
        self.lease = LocalLease(accounting, self.clock, request_write)
        self.cooldown = Cooldown()
        self.revision = 0
        self.newcomer_needs_time = False
        """Somebody wrote who did not know the time; the next write tells it."""
        self.waiter_withdrew = False
        """A waiting worker withdrew without a grant, or the learned limit was dropped: more is free."""
        self.queued: Callable[[], Mapping[str, int] | None] = lambda: None
        """Requests behind those in hand, by mailbox; None: not known."""
        self._request_write = request_write

    @property
    def record(self) -> QuotaRecord:
        """As last observe of; empty before that."""
        return self.view.record or _EMPTY

    def need(self, tokens: int) -> Amounts:
        """One request of so many tokens, as the record would have to grant it."""
        accounting = self.accounting
        return Amounts(
            int(accounting.counts_requests),
            tokens if accounting.counts_tokens else 0,
            self.lease.running + 1 if accounting.counts_slots else 0,
        )

    def one_first(self, until_s: float, now_s: float) -> bool:
        """Whether after a pause until then one request goes first."""
        return not self.accounting.learns or until_s - now_s >= ONE_FIRST_FROM_S

    def observe(self, stored: Stored, now_s: float, *, joined: bool) -> bool:
        """Somebody wrote; perhaps it was us. Returns whether others have to be told the time, at once."""
        if stored.revision == self.revision:
            return False
        record = decode_record(self.key, stored)
        if record is None:
            return False
        behind = joined and self.clock.is_behind(record.at_ms, now_s)
        if behind and self._was_begun_anew(record, now_s):  # in a bucket made again it has a low revision
            record = self._made_again(record, now_s)
        elif stored.revision < self.revision and not self._was_made_again(record):
            return False
        asked = behind or (joined and self._has_a_newcomer(record))
        self.newcomer_needs_time = self.newcomer_needs_time or asked
        self.take(record, stored.revision, now_s)
        return asked

    def read(self, stored: Stored | None, now_s: float) -> None:
        """The record as it is stored, or made again from memory if it is gone. An older one than we know is no news."""
        revision = 0 if stored is None else stored.revision
        record = None if stored is None else decode_record(self.key, stored)
        known = self.view.record
        if record is not None and self._was_overtaken(record, revision):
            return
        if known is not None and (
            record is None
            or self._is_newcomers(record, revision, now_s)
            or (self.clock.is_behind(record.at_ms, now_s) and self._was_begun_anew(record, now_s))
        ):
            record = self._made_again(record, now_s)
        elif record is not None and self._was_out_of_reach_for_all(record, now_s):
            record = rebuilt(record, None, self.holder, self.accounting, self.clock.now_ms(now_s))
        if record is not None:
            self.take(record, revision, now_s)
        else:
            self.revision = revision

    def take(self, record: QuotaRecord, revision: int, now_s: float) -> None:
        if _was_dropped(self.record, record) or _waiter_withdrew(self.record, record, self.holder):
            self.waiter_withdrew = True
        self.revision = revision
        self.view.record = record
        self.clock.observe(record.at_ms, now_s)
        if lease_of(record, self.holder).number == 0:
            self.lease.lost()
        paused_until_s = self.clock.local_s(record.paused_until_ms)
        if paused_until_s > now_s:
            one_first = self.one_first(paused_until_s, now_s)
            self.cooldown.pause(paused_until_s, record.pause_reason, one_first=one_first)
        if self.lease.demand.first is not None or self.view.superseded(now_s):
            self._request_write()

    def _was_overtaken(self, record: QuotaRecord, revision: int) -> bool:
        """An old entry of the record we know; one that was begun anew does not know us, or knows a later time."""
        knows_us = lease_of(record, self.holder).number > 0
        return revision < self.revision and knows_us and record.at_ms < self.record.at_ms

    def _was_out_of_reach_for_all(self, record: QuotaRecord, now_s: float) -> bool:
        """Nobody wrote for longer than a lease lasts, and we lived on our static share: so did the others."""
        age_ms = self.clock.now_ms(now_s) - record.at_ms
        return self.lease.alone is not None and age_ms >= self.accounting.settings.lease_ms

    def _was_begun_anew(self, record: QuotaRecord, now_s: float) -> bool:
        """Somebody deleted the entry, and a newcomer began the next one: it does not have our lease, which runs."""
        mine = lease_of(self.record, self.holder)
        runs = mine.until_ms + self.accounting.settings.grace_ms > self.clock.now_ms(now_s)
        return mine.number > 0 and runs and lease_of(record, self.holder).number == 0

    def _made_again(self, record: QuotaRecord | None, now_s: float) -> QuotaRecord:
        _log.warning("the shared quota of %s was lost; it is made again from memory", self.key)
        return rebuilt(self.record, record, self.holder, self.accounting, self.clock.now_ms(now_s))

    def _has_a_newcomer(self, record: QuotaRecord) -> bool:
        """A newcomer asks for the time, also with a fresh copy of the record: the server clock may have stepped."""
        known = {lease.holder for lease in self.record.leases} | {self.holder}
        return any(lease.holder not in known for lease in record.leases)

    def _was_made_again(self, record: QuotaRecord) -> bool:
        """Of an entry with a low revision, however late it is observe: somebody who remembers us has begun the bucket
        anew, and record_start on with the time.
        """
        return record.at_ms > self.record.at_ms and lease_of(record, self.holder).number > 0

    def _is_newcomers(self, record: QuotaRecord, revision: int, now_s: float) -> bool:
        """It does not remember us; who does has written a while ago, and what was said since stands there."""
        knows_us = lease_of(record, self.holder).number > 0
        return revision < self.revision and not knows_us and self.clock.is_behind(record.at_ms, now_s)


def _waiter_withdrew(before: QuotaRecord, after: QuotaRecord, holder: str) -> bool:
    for lease in before.leases:
        if lease.waits_since_ms is None or lease.holder == holder:
            continue
        now = lease_of(after, lease.holder)
        if now.waits_since_ms is None and not (now.requests or now.tokens or now.slots):
            return True
    return False


def _was_dropped(before: QuotaRecord, after: QuotaRecord) -> bool:
    """The limit that was learned."""
    return alive(before.learned, before.at_ms) and not alive(after.learned, after.at_ms)
