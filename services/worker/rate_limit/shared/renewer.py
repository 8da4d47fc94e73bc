"""Keeps one quota's lease: joins the record, renews before the lease runs dry, hears what others write."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from penstock.bus.clock import loop_now_s
from penstock.bus.log_limits import rate_limited_logger
from penstock.contract.quota import QuotaLearned
from penstock.runtime.aio import CriticalLoop
from services.worker.rate_limit.learned.rate import alive, dropped
from services.worker.rate_limit.limit import Observation
from services.worker.rate_limit.quota import Need
from services.worker.rate_limit.record.accounting import RecordAccounting
from services.worker.rate_limit.record.lease_settings import Amounts
from services.worker.rate_limit.shared.bootstrap import join
from services.worker.rate_limit.shared.cas_writer import CasWriter, ReportedRefusal
from services.worker.rate_limit.shared.replica import Replica
from services.worker.rate_limit.shared.static_share import alone
from services.worker.rate_limit.shared.store_protocol import RecordStore, Stored, Unreachable
from services.worker.rate_limit.shared.write_schedule import PACE_S, due_s

__all__ = ["Renewer"]

_log: Final = rate_limited_logger(__name__, by="text")
_AGAIN_S: Final = 0.5
"""After the record could not be reached."""


class Renewer:
    """The loop of one (credential or quota group, model); the lease and the policy decide."""

    def __init__(
        self, key: str, holder: str, accounting: RecordAccounting, random: Callable[[], float]
    ) -> None:
        self._replica = Replica(key, holder, accounting, self.request_write)
        self.key = key
        self.accounting = accounting
        self.clock = self._replica.clock
        self.view = self._replica.view
        self.lease = self._replica.lease
        self.cooldown = self._replica.cooldown
        self.on_grant: Callable[[], None] = lambda: None
        """To be set before the start: called when those who wait should ask again."""
        self._random = random
        self._writer: CasWriter | None = None
        self._joined = self._was_refused = False
        self._urgent = self._soon = False
        self._wake = asyncio.Event()
        self._back = asyncio.Event()
        self._running = CriticalLoop(f"quota {key}")

    def set_backlog(self, queued: Callable[[], Mapping[str, int]]) -> None:
        """`queued`: how many requests wait for this quota in which mailboxes."""
        self._replica.queued = queued

    def start(self, records: RecordStore) -> None:
        self._writer = CasWriter(self._replica, records, self._random, self.on_grant)
        self._running.start(self._run(self._writer, records))

    async def stop(self, within_s: float) -> None:
        """Give everything back. If that fails, or takes longer, the others take us for one that was killed: they
        count what we held as spent when the lease ends. Only the places are free again then.
        """
        await self._running.stop()
        if self._writer is None or not self._joined:
            return
        try:
            async with asyncio.timeout(within_s):
                await self._writer.write(leaving=True)
        except (Unreachable, TimeoutError) as error:
            _log.warning("the lease of %s could not be given back: %r", self.key, error)

    def request_write(self) -> None:
        """Write soon."""
        self._soon = True
        self._wake.set()

    def wake(self) -> None:
        """There is something to tell, and no hurry."""
        self._wake.set()

    def withdraw(self, waiter: int) -> None:
        """A request waits no longer: who stood behind it looks again, and the record is told."""
        if self.lease.demand.withdrawn(waiter):
            self.request_write()
            self.on_grant()

    def need(self, tokens: int) -> Amounts:
        return self._replica.need(tokens)

    def pause(self, until_s: float, why: str) -> None:
        """Here at once, and everywhere a moment later."""
        if (
            self.cooldown.pause(until_s, why, one_first=self._replica.one_first(until_s, loop_now_s()))
            and self._writer is not None
        ):
            self._writer.report_pause(until_s, why)
            self._hurry()

    def refused(self, news: ReportedRefusal) -> None:
        """A 429: the admitted rate is learned from it."""
        if self._writer is not None:
            counted = 0 if self._was_refused else news.counted
            self._was_refused = True
            self._writer.report_refusal(msgspec.structs.replace(news, counted=counted))
            self._hurry()

    def learned(self, now_s: float) -> QuotaLearned | None:
        """What the record has learned, as far as it is believed still."""
        found = None if self.view.record is None else self.view.record.learned
        return found if alive(found, self.clock.now_ms(now_s)) else None

    def dropped(self, now_s: float) -> bool:
        """Whether refusals contradicted what the record had learned: nothing is learned for a while."""
        record = self.view.record
        return record is not None and dropped(record.learned, self.clock.now_ms(now_s))

    def capped(self, need: Need) -> Need:
        """A learned limit of tokens is no reason to keep a larger need for ever: the provider decides of it."""
        record = self.view.record
        if not self.accounting.learns or record is None or record.learned is None:
            return need
        most = record.learned.tokens_per_minute
        return need if most is None or need.tokens <= most else msgspec.structs.replace(need, tokens=most)

    def is_limiting(self, now_s: float) -> bool:
        """Whether there is a limit or a pause: a learned limit may expire or be dropped."""
        if not self.accounting.learns or not self._joined or now_s < self.cooldown.until_s:
            return True
        return self.learned(now_s) is not None or bool(self._writer and self._writer.refusals)

    def correct(self, word: Observation, now_s: float) -> None:
        if self._writer is None:
            return
        if self.accounting.learns:
            if (
                word.window == "minute"
                and word.limit
                and self._writer.report_header_limit(word.kind, word.limit)
            ):
                self.wake()
            return
        found = self.view.correction(word, now_s, self._writer.words)
        if found is not None:
            self._writer.report_correction(found)
            self._hurry()

    def observe(self, stored: Stored) -> None:
        """Somebody wrote; perhaps it was us."""
        if self._replica.observe(stored, loop_now_s(), joined=self._joined):
            self._hurry()
        self._wake_if_waiter_withdrew()
        if self.lease.alone is not None:
            self._back.set()

    def _wake_if_waiter_withdrew(self) -> None:
        if self._replica.waiter_withdrew:
            self._replica.waiter_withdrew = False
            self.on_grant()

    def _hurry(self) -> None:
        self._urgent = True
        self.request_write()

    async def _run(self, writer: CasWriter, records: RecordStore) -> None:
        """For ever: whatever fails, the next round may succeed, and meanwhile there is the static share."""
        while True:
            try:
                if not self._joined:
                    await join(self._replica, writer, records)
                    self._joined = True
                await writer.write()
                self._wake_if_waiter_withdrew()
            except Unreachable as error:
                self._out_of_reach(writer.unanswered_since_s, error)
            except Exception as error:  # noqa: BLE001 - the model shall not be left without a quota, whatever it was
                _log.exception("the lease of %s could not be renewed", self.key)
                self._out_of_reach(float("-inf"), error)
            else:
                await self._rest(writer)
                continue
            await self._retry_soon()

    async def _retry_soon(self) -> None:
        """At once when somebody else is observe to write: while they lease, nobody shall live on its static share."""
        self._back.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_AGAIN_S * (0.5 + self._random())):
                await self._back.wait()

    async def _rest(self, writer: CasWriter) -> None:
        """Until there is something to write; then until a write is due again."""
        with contextlib.suppress(TimeoutError):
            while not self._soon:
                async with asyncio.timeout_at(due_s(self._replica, writer.wrote_s, loop_now_s())):
                    await self._wake.wait()
                self._wake.clear()
        self._soon = False
        self._wake.clear()
        while not self._urgent and (left_s := writer.wrote_s + PACE_S - loop_now_s()) > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left_s):
                    await self._wake.wait()
            self._wake.clear()
        self._urgent = False

    def _out_of_reach(self, since_s: float, error: Exception) -> None:
        """A single lost answer is no reason to live on a share, however long nothing was asked before: only as much
        silence as ends a lease is.
        """
        now_s = loop_now_s()
        lease_s = self.accounting.settings.lease_ms / 1000
        if self.lease.alone is not None or now_s < max(self.lease.good_until_s, since_s + lease_s):
            return
        if not self.clock.is_set:
            self.clock.observe(0, now_s)
        self.lease.alone = alone(
            self.accounting, self.view.record, self._replica.holder, self.clock.now_ms(now_s), now_s
        )
        _log.warning(
            "the shared quota of %s is out of reach (%r); this worker goes on with its static share",
            self.key,
            error,
        )
        self.on_grant()
