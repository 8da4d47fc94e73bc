"""The lease of one worker on a shared quota: what it may spend, and what it has spent. No I/O, no waiting.

At every instant the stored record holds at least what this worker may still spend and what it has spent but not yet
reported: if the worker stops or is cut off, the other workers count its use as at least what it was.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from msgspec import Struct

from services.worker.rate_limit.record.accounting import RecordAccounting
from services.worker.rate_limit.record.allocation import Allocation, LeaseReport
from services.worker.rate_limit.record.lease_settings import Amounts
from services.worker.rate_limit.record.record_clock import RecordClock
from services.worker.rate_limit.shared.demand import Demand

__all__ = ["LocalLease"]


class _OpenPermit(Struct):
    """A permit that is not settled yet."""

    tokens: int
    grain: int
    write: int
    """How many writes had begun when it was charged."""


class _Sent(Struct, frozen=True):
    """A write that may or may not have been stored."""

    allocation: Allocation
    report: LeaseReport
    sent_s: float
    frozen: tuple[float, float]
    """Requests and tokens that may not be spent until the outcome is known; they return if the write failed."""


class LocalLease:
    def __init__(
        self, accounting: RecordAccounting, clock: RecordClock, request_write: Callable[[], None]
    ) -> None:
        """`request_write`: called when the lease should be renewed soon."""
        self.demand = Demand(accounting.settings.ahead_s)
        self.running = 0
        self._most_running = 0
        """Since the last write began."""
        self._accounting = accounting
        self._clock = clock
        self._request_write = request_write
        self._grain_ms = accounting.minute.grain_ms
        self._requests = self._tokens = self._slots = 0.0
        self._low_requests = self._low_tokens = -1.0
        self.good_until_s = -inf
        self._spent: dict[int, list[int]] = {}
        self._refunds: dict[int, int] = {}
        self._used_requests = self._used_tokens = 0
        self._open: dict[int, _OpenPermit] = {}
        self._numbers = 0
        self._writes = 0
        self._sent: _Sent | None = None

    def has(self, tokens: int, now_s: float) -> bool:
        """Whether the lease covers one request of so many tokens."""
        return (
            now_s < self.good_until_s
            and self._requests >= 1
            and self._tokens >= tokens
            and self._slots > self.running
        )

    def acquire(self, tokens: int, now_s: float, waiter: int = 0, *, batch_only: bool = False) -> int | None:
        """Spend one request and its tokens: the number to settle it by, or None if the lease does not cover it.

        `waiter`: the waiting request that this serves. `batch_only`: a batch request that leaves the reserve free.
        """
        if not self._accounting.counts_tokens:
            tokens = 0
        if not self.has(tokens, now_s):
            return None
        self._requests -= 1
        self._tokens -= tokens
        if self._requests <= self._low_requests or self._tokens <= self._low_tokens:
            self._low_requests = self._low_tokens = -1.0
            self._request_write()
        self._used_requests += 1
        self._used_tokens += tokens
        grain = self._clock.now_ms(now_s) // self._grain_ms
        self._charge(grain, 1, tokens)
        self.demand.record_grant(tokens, now_s, waiter, batch_only=batch_only)
        self.running += 1
        self._most_running = max(self._most_running, self.running)
        self._numbers += 1
        self._open[self._numbers] = _OpenPermit(tokens, grain, self._writes)
        return self._numbers

    def settle(self, number: int, true_tokens: int, now_s: float) -> None:
        """Correct the tokens and free the slot; a second time changes nothing."""
        if true_tokens < 0:
            raise ValueError(f"{true_tokens} is not a valid number of tokens")
        permit = self._open.pop(number, None)
        if permit is None:
            return
        self.running -= 1
        above = true_tokens - permit.tokens if self._accounting.counts_tokens else 0
        is_unreported = permit.write == self._writes
        if above > 0:
            self._charge(self._clock.now_ms(now_s) // self._grain_ms, 0, above)
        elif above < 0 and is_unreported:
            self._spent[permit.grain][1] += above
        elif above < 0:
            self._refunds[permit.grain] = self._refunds.get(permit.grain, 0) + above
        if above > 0 or is_unreported:
            self._used_tokens += above
            self._tokens -= above

    @property
    def has_unreported(self) -> bool:
        return bool(self._spent or self._refunds)

    @property
    def unreported(self) -> Amounts:
        """What was spent and is not in the record that others know."""
        cells = [*self._spent.values(), *((0, tokens) for tokens in self._refunds.values())]
        if self._sent is not None:
            report = self._sent.report
            cells += [(requests, tokens) for _, requests, tokens in (*report.spent, *report.refunded)]
        return Amounts(sum(cell[0] for cell in cells), sum(cell[1] for cell in cells))

    @property
    def is_held(self) -> bool:
        """Whether a lease is held that has to be renewed. Calls in flight count only where concurrency is limited."""
        held = (self._requests, self._tokens, self._slots)
        return any(0 < each < inf for each in held) or (self._accounting.counts_slots and self.running > 0)

    def report(
        self,
        holder: str,
        now_s: float,
        *,
        paused: bool,
        leaving: bool = False,
        others_wait: bool = False,
    ) -> LeaseReport:
        """What to report and to request with the next write.

        `others_wait`: requests of other workers wait for this quota, so slots that are free now are returned.
        """
        self.demand.measure(now_s)
        running = self.running if self._accounting.counts_slots else 0
        first = None
        if self.demand.first is not None and not paused and not leaving:
            first = self._counted(Amounts(1, self.demand.first, self.running + 1))
        idle = Amounts(slots=running)
        slots = self.running if others_wait else self._most_running
        want = idle if paused or leaving else self._counted(self.demand.want(slots, now_s))
        return LeaseReport(
            holder=holder,
            number=self._writes + 1,
            spent=tuple((grain, cell[0], cell[1]) for grain, cell in self._spent.items()),
            refunded=tuple((grain, 0, tokens) for grain, tokens in self._refunds.items()),
            want=want,
            first=first,
            running=running,
            batch_only=self.demand.batch_only(now_s),
            leaving=leaving,
        )

    def begin(self, report: LeaseReport, allocation: Allocation, now_s: float) -> None:
        """A write begins: what it returns may no longer be spent."""
        held = self._held(allocation)
        requests, tokens = min(self._requests, held[0]), min(self._tokens, held[1])
        frozen = (_less(self._requests, requests), _less(self._tokens, tokens))
        self._sent = _Sent(allocation, report, now_s, frozen)
        self._requests, self._tokens = requests, tokens
        self._slots = min(self._slots, held[2])
        self._writes = report.number
        self._most_running = self.running
        self._spent, self._refunds = {}, {}
        self._used_requests = self._used_tokens = 0

    def commit(self) -> bool:
        """The write is stored. Returns whether waiting requests should ask again."""
        assert self._sent is not None  # noqa: S101 - only a write that began can be stored
        sent, self._sent = self._sent, None
        requests, tokens, self._slots = self._held(sent.allocation)
        self._requests, self._tokens = requests - self._used_requests, tokens - self._used_tokens
        self._low_requests = _low(requests)
        self._low_tokens = _low(tokens)
        settings = self._accounting.settings
        self.good_until_s = sent.sent_s + (settings.lease_ms - settings.grace_ms) / 1000
        if sent.report.first is None or sent.allocation.waits:
            return False
        self.demand.clear_waiters()
        return True

    def roll_back(self) -> None:
        """The write is not stored: restore the state before it began."""
        assert self._sent is not None  # noqa: S101 - the same
        sent, self._sent = self._sent, None
        self._requests += sent.frozen[0]
        self._tokens += sent.frozen[1]
        for grain, requests, tokens in sent.report.spent:
            self._charge(grain, requests, tokens)
        for grain, _, tokens in sent.report.refunded:
            self._refunds[grain] = self._refunds.get(grain, 0) + tokens

    def revoke(self) -> None:
        """Other workers have counted the lease as spent: spend no more of it."""
        self.good_until_s = -inf

    def _held(self, allocation: Allocation) -> tuple[float, float, float]:
        """Requests, tokens and slots of the lease; infinite where nothing is limited."""
        accounting = self._accounting
        return (
            allocation.held.requests if accounting.counts_requests else inf,
            allocation.held.tokens if accounting.counts_tokens else inf,
            allocation.held.slots if accounting.counts_slots else inf,
        )

    def _counted(self, amounts: Amounts) -> Amounts:
        accounting = self._accounting
        return Amounts(
            amounts.requests if accounting.counts_requests else 0,
            amounts.tokens if accounting.counts_tokens else 0,
            amounts.slots if accounting.counts_slots else 0,
        )

    def _charge(self, grain: int, requests: int, tokens: int) -> None:
        cell = self._spent.get(grain)
        if cell is None:
            self._spent[grain] = [requests, tokens]
        else:
            cell[0] += requests
            cell[1] += tokens


def _less(before: float, after: float) -> float:
    return 0.0 if before == after else before - after


def _low(held: float) -> float:
    """Level at which to renew: half of the lease; never where nothing is limited."""
    return -1.0 if held == inf else held // 2
