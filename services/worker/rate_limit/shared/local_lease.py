"""One worker's end of a shared quota: spends what it has leased, and keeps accounting of it. No I/O, no waiting.

At every instant the stored record holds at least what this worker may still spend and what it has spent but not yet
told: whatever becomes of the worker, the others count enough.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Final

from msgspec import Struct

from services.worker.rate_limit.limit_set import LimitSet
from services.worker.rate_limit.record.accounting import RecordAccounting
from services.worker.rate_limit.record.allocation import Allocation, Report
from services.worker.rate_limit.record.lease_settings import Amounts
from services.worker.rate_limit.record.record_clock import RecordClock
from services.worker.rate_limit.shared.demand import Demand

__all__ = ["LocalLease"]

_MANY_GRAINS: Final = 512


class _Open(Struct):
    """A permit that was not settled yet."""

    tokens: int
    grain: int
    write: int
    """How many writes had begun when it was charged."""
    share: tuple[LimitSet, int] | None


class _Sent(Struct, frozen=True):
    """A write that may or may not have been stored."""

    allocation: Allocation
    report: Report
    sent_s: float
    frozen: tuple[float, float]
    """Taken out of our own hands for as long as we do not know: it is given back if the write was stored."""


class LocalLease:
    def __init__(
        self, accounting: RecordAccounting, clock: RecordClock, request_write: Callable[[], None]
    ) -> None:
        """`request_write`: called when the lease should be renewed soon."""
        self.demand = Demand(accounting.settings.ahead_s)
        self.running = 0
        self.alone: LimitSet | None = None
        """Our static share, while the record is out of reach."""
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
        self._open: dict[int, _Open] = {}
        self._numbers = 0
        self._writes = 0
        self._sent: _Sent | None = None

    def has(self, tokens: int, now_s: float) -> bool:
        """Whether a permit for so many tokens is in hand."""
        return (
            now_s < self.good_until_s
            and self._requests >= 1
            and self._tokens >= tokens
            and self._slots > self.running
        )

    def acquire(self, tokens: int, now_s: float, reserve: float = 0.0, waiter: int = 0) -> int | None:
        """Spend one request and its tokens: the number to settle it by, or None if that is not in hand.

        `reserve`: the share that batch work leaves to others; of our static share so much must be free here. `waiter`:
        whose need this ends.
        """
        if not self._accounting.counts_tokens:
            tokens = 0
        share = None
        if self.has(tokens, now_s):
            self._requests -= 1
            self._tokens -= tokens
            if self._requests <= self._low_requests or self._tokens <= self._low_tokens:
                self._low_requests = self._low_tokens = -1.0
                self._request_write()
        elif self.alone is not None and (number := self.alone.admit(tokens, now_s, reserve)) is not None:
            share = (self.alone, number)
        else:
            return None
        # What the share gave is not told either: a write that lands only now gives that much less to spend.
        self._used_requests += 1
        self._used_tokens += tokens
        grain = self._clock.now_ms(now_s) // self._grain_ms
        self._charge(grain, 1, tokens)
        self.demand.granted(tokens, now_s, waiter, batch_only=reserve > 0)
        self.running += 1
        self._numbers += 1
        self._open[self._numbers] = _Open(tokens, grain, self._writes, share)
        return self._numbers

    def settle(self, number: int, true_tokens: int, now_s: float) -> None:
        """Correct the tokens and free the place; nothing if that was done before."""
        if true_tokens < 0:
            raise ValueError(f"a use of {true_tokens} tokens")
        permit = self._open.pop(number, None)
        if permit is None:
            return
        self.running -= 1
        if permit.share is not None:
            permit.share[0].settle(permit.share[1], true_tokens, now_s)
        above = true_tokens - permit.tokens if self._accounting.counts_tokens else 0
        if above > 0:
            self._charge(self._clock.now_ms(now_s) // self._grain_ms, 0, above)
        elif above < 0 and permit.write == self._writes:
            self._spent[permit.grain if permit.grain in self._spent else self._folded(permit.grain)][1] += (
                above
            )
        elif above < 0:
            self._refunds[permit.grain] = self._refunds.get(permit.grain, 0) + above
        if above > 0 or permit.write == self._writes:
            self._used_tokens += above
            if permit.share is None:
                self._tokens -= above

    @property
    def has_unreported(self) -> bool:
        return bool(self._spent or self._refunds)

    @property
    def unreported(self) -> Amounts:
        """Spent, and not in the record that others know."""
        cells = [*self._spent.values(), *((0, tokens) for tokens in self._refunds.values())]
        if self._sent is not None:
            report = self._sent.report
            cells += [(requests, tokens) for _, requests, tokens in (*report.spent, *report.refunded)]
        return Amounts(sum(cell[0] for cell in cells), sum(cell[1] for cell in cells))

    @property
    def holds(self) -> bool:
        """A lease that ends soon. Calls under way are none where nothing bounds how many there are."""
        held = (self._requests, self._tokens, self._slots)
        return any(0 < each < inf for each in held) or (self._accounting.counts_slots and self.running > 0)

    def report(self, holder: str, now_s: float, *, paused: bool, leaving: bool = False) -> Report:
        """What is to be told now, and what to be asked for."""
        self.demand.measure(now_s)
        running = self.running if self._accounting.counts_slots else 0
        first = None
        if self.demand.first is not None and not paused and not leaving:
            first = self._counted(Amounts(1, self.demand.first, self.running + 1))
        idle = Amounts(slots=running)
        want = idle if paused or leaving else self._counted(self.demand.want(self.running, now_s))
        return Report(
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

    def begin(self, report: Report, allocation: Allocation, now_s: float) -> None:
        """The write goes out: what it gives back may no longer be spent."""
        requests, tokens = (
            min(self._requests, self._in_hand(allocation)[0]),
            min(self._tokens, self._in_hand(allocation)[1]),
        )
        frozen = (_less(self._requests, requests), _less(self._tokens, tokens))
        self._sent = _Sent(allocation, report, now_s, frozen)
        self._requests, self._tokens = requests, tokens
        self._slots = min(self._slots, self._in_hand(allocation)[2])
        self._writes = report.number
        self._spent, self._refunds = {}, {}
        self._used_requests = self._used_tokens = 0

    def stored(self) -> bool:
        """The write is in the record. Returns whether those who wait should ask again."""
        assert self._sent is not None  # noqa: S101 - only what was begun can be stored
        sent, self._sent = self._sent, None
        requests, tokens, self._slots = self._in_hand(sent.allocation)
        self._requests, self._tokens = requests - self._used_requests, tokens - self._used_tokens
        self._low_requests = _low(requests)
        self._low_tokens = _low(tokens)
        settings = self._accounting.settings
        self.good_until_s = sent.sent_s + (settings.lease_ms - settings.grace_ms) / 1000
        self.alone = None
        if sent.report.first is None or sent.allocation.waits:
            return False
        self.demand.served()
        return True

    def roll_back(self, *, may_land: bool = False) -> None:
        """The write is not in the record: everything is as if it had not begun.

        `may_land`: it may still be stored one day, and what it told is told twice then. That may only add: what it
        refunded counts as spent until it has left the window.
        """
        assert self._sent is not None  # noqa: S101 - the same
        sent, self._sent = self._sent, None
        self._requests += sent.frozen[0]
        self._tokens += sent.frozen[1]
        for grain, requests, tokens in sent.report.spent:
            self._charge(grain, requests, tokens)
        for grain, _, tokens in () if may_land else sent.report.refunded:
            self._refunds[grain] = self._refunds.get(grain, 0) + tokens

    def lost(self) -> None:
        """Others have counted our lease as spent: it is no longer ours."""
        self.good_until_s = -inf

    def _in_hand(self, allocation: Allocation) -> tuple[float, float, float]:
        """As leased; what has no limit is there without end."""
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
            if len(self._spent) > _MANY_GRAINS:
                self._fold(max(self._spent) * self._grain_ms)
        else:
            cell[0] += requests
            cell[1] += tokens

    def _fold(self, now_ms: int) -> None:
        """Nothing could be told for long: what is too old for the minute is reserved by the grain of the day only."""
        cells, self._spent = self._spent, {}
        for grain, (requests, tokens) in cells.items():
            reserved = grain if self._accounting.minute.ends_ms(grain) > now_ms else self._folded(grain)
            cell = self._spent.setdefault(reserved, [0, 0])
            cell[0] += requests
            cell[1] += tokens

    def _folded(self, grain: int) -> int:
        """The first grain of the minute's window in the same grain of the day's."""
        day_ms = self._accounting.day.grain_ms
        return -(-(grain * self._grain_ms // day_ms * day_ms) // self._grain_ms)


def _less(before: float, after: float) -> float:
    return 0.0 if before == after else before - after


def _low(held: float) -> float:
    """Renew when half of it is gone; what has no limit never runs low."""
    return -1.0 if held == inf else held // 2
