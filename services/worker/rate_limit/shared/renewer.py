"""Keeps one worker's lease on one shared quota: joins the record, renews in time, follows what other workers write."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from math import inf
from typing import Final

import msgspec

from penstock.bus.clock import loop_now_s
from penstock.bus.log_limits import rate_limited_logger
from penstock.contract.quota import QuotaLearned, QuotaRecord
from penstock.runtime.aio import CriticalLoop
from services.worker.rate_limit.learned.rate import alive, dropped
from services.worker.rate_limit.limit import Observation
from services.worker.rate_limit.quota import Need
from services.worker.rate_limit.record.accounting import RecordAccounting
from services.worker.rate_limit.record.lease_settings import Amounts
from services.worker.rate_limit.shared.cas_writer import CasWriter, ReportedRefusal
from services.worker.rate_limit.shared.replica import Member, Replica
from services.worker.rate_limit.shared.store_protocol import RecordStore, Stored, Unreachable

__all__ = ["Renewer"]

_log: Final = rate_limited_logger(__name__, by="text")
_RETRY_S: Final = 0.5
"""Mean seconds between attempts while the record cannot be reached."""
_WRITE_INTERVAL_S: Final = 0.1
"""Least seconds between two writes; a pause is written at once."""
_REPORT_S: Final = 0.5
"""Seconds after a write within which spending is reported."""
_SOON_S: Final = 0.05
"""Least seconds until a write that nothing requested."""
_TIME_ANSWER_S: Final = 0.2
"""Seconds that a joining worker waits for other workers to state the record's time."""
_STALE_S: Final = 1.0
"""Age of the record from which on a joining worker takes the elapsed time from the server's clock."""


class Renewer:
    """The loop of one (credential or quota group, model); lease and allocation are pure and decide."""

    def __init__(
        self,
        key: str,
        models: frozenset[str],
        accounting: RecordAccounting,
        member: Member,
        store: RecordStore,
    ) -> None:
        """`models`: names of the models that this quota limits."""
        self._replica = Replica(key, member.holder, accounting, self.request_write)
        self.key = key
        self.accounting = accounting
        self.clock = self._replica.clock
        self.view = self._replica.view
        self.lease = self._replica.lease
        self.pause_state = self._replica.pause_state
        self.is_unreachable = False
        """The record could not be reached for as long as a lease lasts."""
        self._models = models
        self._member = member
        self._store = store
        self._writer = CasWriter(self._replica, store, member, self._queued)
        self._joined = self._was_refused = False
        self._urgent = self._write_soon = False
        self._wake = asyncio.Event()
        self._loop = CriticalLoop(f"quota {key}")

    def start(self) -> None:
        self._loop.start(self._run())

    async def stop(self, within_s: float) -> None:
        """Return the lease. If that fails or takes longer, the others treat this worker as dead: they count its lease
        as spent when it ends, and only its slots are free again then.
        """
        await self._loop.stop()
        if not self._joined:
            return
        try:
            async with asyncio.timeout(within_s):
                await self._writer.write(leaving=True)
        except (Unreachable, TimeoutError) as error:
            _log.warning("the lease of %s could not be returned: %r", self.key, error)

    def request_write(self) -> None:
        """Write soon."""
        self._write_soon = True
        self._wake.set()

    def wake(self) -> None:
        """Compute again when the next write is due: there is something to report, without urgency."""
        self._wake.set()

    def withdraw(self, waiter: int) -> None:
        """A request waits no longer: the requests behind it ask again, and the record is updated."""
        if self.lease.demand.withdraw(waiter):
            self.request_write()
            self._member.on_grant()

    def need(self, tokens: int) -> Amounts:
        return self._replica.need(tokens)

    def pause(self, until_s: float, why: str) -> float:
        """Pause here at once, and in all workers a moment later; returns the end of the pause in force."""
        if self._replica.pause(until_s, loop_now_s()):
            self._writer.report_pause(until_s, why)
            self._request_urgent_write()
        return self.pause_state.until_s

    def refused(self, refusal: ReportedRefusal) -> None:
        """Report a 429, from which the admitted rate is learned."""
        counted = 0 if self._was_refused else refusal.counted
        self._was_refused = True
        self._writer.report_refusal(msgspec.structs.replace(refusal, counted=counted))
        self._request_urgent_write()

    def learned(self, now_s: float) -> QuotaLearned | None:
        """The learned limit in force."""
        found = None if self.view.record is None else self.view.record.learned
        return found if alive(found, self.clock.now_ms(now_s)) else None

    def is_learning_suspended(self, now_s: float) -> bool:
        """Whether refusals contradicted the learned limit lately, so that nothing is learned now."""
        record = self.view.record
        return record is not None and dropped(record.learned, self.clock.now_ms(now_s))

    def capped(self, need: Need) -> Need:
        """Cut a need to a learned limit of tokens: the provider decides about a larger one."""
        record = self.view.record
        if not self.accounting.is_learned or record is None or record.learned is None:
            return need
        most = record.learned.tokens_per_minute
        return need if most is None or need.tokens <= most else msgspec.structs.replace(need, tokens=most)

    def is_limiting(self, now_s: float) -> bool:
        """Whether there is a limit or a pause. A learned limit may expire, and exists once it is written."""
        if not self.accounting.is_learned or not self._joined or now_s < self.pause_state.until_s:
            return True
        return self.learned(now_s) is not None or bool(self._writer.refusals)

    def correct(self, header: Observation, now_s: float) -> None:
        if self.accounting.is_learned:
            is_limit = header.window == "minute" and header.limit
            if is_limit and self._writer.report_header_limit(header.kind, header.limit or 0):
                self.wake()
            return
        found = self.view.correction(header, now_s, self._writer.corrections)
        if found is not None:
            self._writer.report_correction(found)
            self._request_urgent_write()

    def observe(self, stored: Stored) -> None:
        """Take an entry that was stored just now, possibly by this worker."""
        if self._replica.observe(stored, loop_now_s(), joined=self._joined):
            self._request_urgent_write()
        self._wake_if_waiter_withdrew()

    def _wake_if_waiter_withdrew(self) -> None:
        if self._replica.waiter_withdrew:
            self._replica.waiter_withdrew = False
            self._member.on_grant()

    def _queued(self) -> Mapping[str, int] | None:
        return None if self._member.queued is None else self._member.queued(self._models)

    def _request_urgent_write(self) -> None:
        self._urgent = True
        self.request_write()

    async def _run(self) -> None:
        """Renew for ever: whatever fails, the next round may succeed, and meanwhile requests wait."""
        while True:
            try:
                if not self._joined:
                    await self._join()
                    self._joined = True
                await self._writer.write()
                self._wake_if_waiter_withdrew()
            except Unreachable as error:
                self._record_failure(self._writer.unanswered_since_s, error)
            except Exception as error:  # noqa: BLE001 - a defect must not end the loop: the model would wait for ever
                _log.exception("the lease of %s could not be renewed", self.key)
                self._record_failure(-inf, error)
            else:
                self._record_success()
                await self._rest()
                continue
            await asyncio.sleep(_RETRY_S * (0.5 + self._member.random()))

    async def _join(self) -> None:
        """State our presence and learn the record's time, from other workers that know it. When there are none, the
        server's clock measures how long no worker wrote; it is trusted for nothing else: if it steps while other
        workers are there, it has no effect.
        """
        replica = self._replica
        before = await self._writer.read()
        if replica.view.record is None:
            replica.adopt(QuotaRecord(at_ms=0), replica.revision, loop_now_s())
        at_ms = replica.record.at_ms
        await self._writer.write(joining=True)
        mine, wrote_s = replica.revision, loop_now_s()
        if before is None or not before.data:
            return
        await asyncio.sleep(_TIME_ANSWER_S)
        now = await self._store.read(replica.key)
        if now is not None and now.revision == mine and now.at_s - before.at_s > _STALE_S:
            replica.clock.observe(at_ms + int((now.at_s - before.at_s) * 1000), wrote_s)

    async def _rest(self) -> None:
        """Wait until there is something to write, then until the least interval between writes is over."""
        with contextlib.suppress(TimeoutError):
            while not self._write_soon:
                async with asyncio.timeout_at(self._due_s(loop_now_s())):
                    await self._wake.wait()
                self._wake.clear()
        self._write_soon = False
        self._wake.clear()
        while not self._urgent and (left_s := self._writer.wrote_s + _WRITE_INTERVAL_S - loop_now_s()) > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left_s):
                    await self._wake.wait()
            self._wake.clear()
        self._urgent = False

    def _due_s(self, now_s: float) -> float:
        """When the next write is due if nothing happens until then: rarely when idle, soon when a request waits."""
        lease, settings, wrote_s = self.lease, self.accounting.settings, self._writer.wrote_s
        first = lease.demand.first
        if not lease.is_held and not lease.has_unreported and first is None:
            return max(now_s + _SOON_S, wrote_s + settings.member_ms / 3000)
        due = [wrote_s + settings.lease_ms / 3000]
        if lease.has_unreported:
            due.append(wrote_s + _REPORT_S)
        if lease.is_held and not lease.demand.is_idle(now_s):
            due.append(lease.demand.idle_at_s() + _SOON_S)
        if first is not None:
            found = self.view.wait_s(self.need(first), now_s)
            wait_s = 0.0 if found is None else found[0]
            due.append(now_s + max(_SOON_S, wait_s, self.pause_state.until_s - now_s))
        return max(now_s + _SOON_S, min(due))

    def _record_failure(self, since_s: float, error: Exception) -> None:
        """Treat the record as unreachable when it is silent for as long as a lease lasts, not after one lost answer."""
        lease_s = self.accounting.settings.lease_ms / 1000
        if self.is_unreachable or loop_now_s() < max(self.lease.good_until_s, since_s + lease_s):
            return
        self.is_unreachable = True
        _log.warning("the shared quota of %s cannot be reached (%r); its requests wait", self.key, error)

    def _record_success(self) -> None:
        if self.is_unreachable and self._writer.unanswered_since_s == inf:
            self.is_unreachable = False
            _log.warning("the shared quota of %s can be reached again", self.key)
            self._member.on_grant()
