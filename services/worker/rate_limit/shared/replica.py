"""A worker's replica of one shared record, and its state on it: clock, lease and pause."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from penstock.contract.quota import QuotaRecord
from services.worker.rate_limit.learned.rate import alive
from services.worker.rate_limit.pause import HALF_OPEN_FROM_S, PauseState
from services.worker.rate_limit.record.accounting import RecordAccounting
from services.worker.rate_limit.record.allocation import lease_of
from services.worker.rate_limit.record.decode import decode_record
from services.worker.rate_limit.record.lease_settings import Amounts
from services.worker.rate_limit.record.record_clock import RecordClock
from services.worker.rate_limit.record.record_view import RecordView
from services.worker.rate_limit.record.window_grains import merged
from services.worker.rate_limit.shared.local_lease import LocalLease
from services.worker.rate_limit.shared.store_protocol import Stored

__all__ = ["Member", "Replica", "rebuilt"]

_log: Final = logging.getLogger(__name__)
_EMPTY: Final = QuotaRecord(at_ms=0)


class Member(Struct, frozen=True):
    """This worker, as one of those that share the records."""

    holder: str
    """The worker's instance."""
    random: Callable[[], float]
    unix_s: Callable[[], float]
    """The wall clock, by which the age of an entry is measured at the start."""
    on_grant: Callable[[], None] = lambda: None
    """Called when waiting requests should ask again."""
    queued: Callable[[frozenset[str]], Mapping[str, int]] | None = None
    """Requests waiting in the mailboxes of the roles that use any of some models, by mailbox; None: not known."""


class Replica:
    """No I/O: it is given what was read, observed or stored."""

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
        self.pause_state = PauseState()
        self.revision = 0
        self.joining_worker_needs_time = False
        """A worker wrote without knowing the record's time; the next write states it."""
        self.waiter_withdrew = False
        """A waiting worker withdrew without a grant, or the learned limit was dropped: more is free."""
        self._request_write = request_write

    @property
    def record(self) -> QuotaRecord:
        """The latest known record; empty before the first."""
        return self.view.record or _EMPTY

    def need(self, tokens: int) -> Amounts:
        """One request of so many tokens, as the record would have to grant it."""
        accounting = self.accounting
        return Amounts(
            int(accounting.counts_requests),
            tokens if accounting.counts_tokens else 0,
            self.lease.running + 1 if accounting.counts_slots else 0,
        )

    def pause(self, until_s: float, now_s: float) -> bool:
        """Admit nothing before `until_s`; returns whether that changes anything."""
        half_open = not self.accounting.is_learned or until_s - now_s >= HALF_OPEN_FROM_S
        return self.pause_state.pause(until_s, half_open=half_open)

    def observe(self, stored: Stored, now_s: float, *, joined: bool) -> bool:
        """Take an entry that was stored just now, possibly by this worker. Returns whether other workers need the
        record's time at once.
        """
        if stored.revision == self.revision:
            return False
        record = decode_record(self.key, stored.data)
        if record is None:
            return False
        behind = joined and self.clock.is_behind(record.at_ms, now_s)
        if behind and self._was_recreated(record, now_s):  # in a new bucket it has a low revision
            record = self._rebuilt(record, now_s)
        elif stored.revision < self.revision and not self._was_rebuilt(record):
            return False
        needs_time = behind or (joined and self._has_joining_worker(record))
        self.joining_worker_needs_time = self.joining_worker_needs_time or needs_time
        self.adopt(record, stored.revision, now_s)
        return needs_time

    def load(self, stored: Stored | None, now_s: float) -> None:
        """Take an entry that was read; rebuild the record from memory if it is gone. An older entry is ignored."""
        revision = 0 if stored is None else stored.revision
        record = None if stored is None else decode_record(self.key, stored.data)
        if record is not None and self._was_overtaken(record, revision):
            return
        if self.view.record is not None and (
            record is None
            or self._was_recreated_by_joining_worker(record, revision, now_s)
            or (self.clock.is_behind(record.at_ms, now_s) and self._was_recreated(record, now_s))
        ):
            record = self._rebuilt(record, now_s)
        if record is not None:
            self.adopt(record, revision, now_s)
        else:
            self.revision = revision

    def adopt(self, record: QuotaRecord, revision: int, now_s: float) -> None:
        """Make `record` the latest known one."""
        if _was_dropped(self.record, record) or _waiter_withdrew(self.record, record, self.holder):
            self.waiter_withdrew = True
        self.revision = revision
        self.view.record = record
        self.clock.observe(record.at_ms, now_s)
        if lease_of(record, self.holder).number == 0:
            self.lease.revoke()
        paused_until_s = self.clock.local_s(record.paused_until_ms)
        if paused_until_s > now_s:
            self.pause(paused_until_s, now_s)
        if self.lease.demand.first is not None or self.view.superseded(now_s):
            self._request_write()

    def _was_overtaken(self, record: QuotaRecord, revision: int) -> bool:
        """Whether it is an old entry of the known record; a recreated one lacks this worker's lease or is later."""
        has_our_lease = lease_of(record, self.holder).number > 0
        return revision < self.revision and has_our_lease and record.at_ms < self.record.at_ms

    def _was_recreated(self, record: QuotaRecord, now_s: float) -> bool:
        """Whether the entry was deleted and a joining worker wrote the next one: it lacks this worker's valid lease."""
        mine = lease_of(self.record, self.holder)
        is_valid = mine.until_ms + self.accounting.settings.grace_ms > self.clock.now_ms(now_s)
        return mine.number > 0 and is_valid and lease_of(record, self.holder).number == 0

    def _rebuilt(self, record: QuotaRecord | None, now_s: float) -> QuotaRecord:
        _log.warning("the shared quota of %s was lost; it is rebuilt from memory", self.key)
        return rebuilt(self.record, record, self.accounting, self.clock.now_ms(now_s))

    def _has_joining_worker(self, record: QuotaRecord) -> bool:
        """Whether a worker joined. It needs the record's time, also with a fresh copy of the record: the server's clock
        may have stepped.
        """
        known = {lease.holder for lease in self.record.leases} | {self.holder}
        return any(lease.holder not in known for lease in record.leases)

    def _was_rebuilt(self, record: QuotaRecord) -> bool:
        """Whether a worker with a copy of the record recreated the bucket and continued its time; revisions are low."""
        return record.at_ms > self.record.at_ms and lease_of(record, self.holder).number > 0

    def _was_recreated_by_joining_worker(self, record: QuotaRecord, revision: int, now_s: float) -> bool:
        """Whether a joining worker recreated the record a while ago. A worker with a copy of
        the record would have kept this worker's lease and everything that was reported since.
        """
        has_our_lease = lease_of(record, self.holder).number > 0
        return revision < self.revision and not has_our_lease and self.clock.is_behind(record.at_ms, now_s)


def rebuilt(
    known: QuotaRecord, found: QuotaRecord | None, accounting: RecordAccounting, now_ms: int
) -> QuotaRecord:
    """A lost record, carried on from memory. Leases of other workers stay as they are: each ends with its own time.

    `found`: the record that a joining worker, which does not know the lost one, wrote in its place. Its clock
    started again, so all that it has spent counts from now.
    """
    if found is None:
        return replace(known, at_ms=now_ms)
    spent = (sum(grain[1] for grain in found.minute), sum(grain[2] for grain in found.minute))
    until_ms = now_ms + accounting.settings.lease_ms
    leases = {lease.holder: lease for lease in known.leases}
    leases |= {lease.holder: replace(lease, until_ms=until_ms) for lease in found.leases}
    return replace(
        known,
        at_ms=now_ms,
        minute=merged(known.minute, [(accounting.minute.grain(now_ms), *spent)]),
        day=merged(known.day, [(accounting.day.grain(now_ms), *spent)]),
        leases=tuple(leases.values()),
    )


def _waiter_withdrew(before: QuotaRecord, after: QuotaRecord, holder: str) -> bool:
    """Whether another worker that waited neither waits nor holds anything now."""
    for lease in before.leases:
        if lease.waits_since_ms is None or lease.holder == holder:
            continue
        now = lease_of(after, lease.holder)
        if now.waits_since_ms is None and not (now.requests or now.tokens or now.slots):
            return True
    return False


def _was_dropped(before: QuotaRecord, after: QuotaRecord) -> bool:
    """Whether the learned limit was dropped."""
    return alive(before.learned, before.at_ms) and not alive(after.learned, after.at_ms)
