"""The budget state of one partition: decisions on holds, a fold over the journal, alerts and reports."""

from __future__ import annotations

from penstock.contract.events import UsageRecorded
from penstock.contract.ledger.holds import HoldRefused, HoldRequest
from penstock.contract.ledger.journal import Alerted, JournalEntry, Released, Settled
from penstock.contract.ledger.status import BudgetQuery, BudgetStatus
from penstock.runtime.holds import traffic_of
from services.ledger.budget import alerting, decisions, snapshot
from services.ledger.budget.book import Book
from services.ledger.budget.counters import KINDS, ends_at_s, starts_at_s
from services.ledger.budget.decisions import Grant, Wait
from services.ledger.budget.holds import amount, signed_amount, token_count
from services.ledger.budget.limits import CompiledPolicies
from services.ledger.budget.periods import Calendar
from services.ledger.budget.policies import Policies
from services.ledger.budget.status import budget_status

__all__ = ["BudgetState", "Grant", "Wait", "hold_id_of"]


class BudgetState:
    """Only `apply` changes the state, and the state is equal wherever the same entries were applied. Everything else
    returns entries for the journal, which the caller stores and then applies in order.

    A time that is before the last entry counts as the time of that entry.
    """

    def __init__(self, *, system: bool = False) -> None:
        """`system`: the limits of the whole system, and no others."""
        self._book = Book(system=system)
        self._compiled = CompiledPolicies()
        self._last_months = Calendar()
        """Of its own: a calendar remembers the periods of one moment."""

    @property
    def last_ms(self) -> int:
        """The latest time of any entry, Unix milliseconds."""
        return self._book.last_ms

    @property
    def open_holds(self) -> int:
        return len(self._book.holds)

    @property
    def held_picousd(self) -> int:
        """Money that is reserved and not settled, of all holds."""
        return sum(hold.held_picousd() for hold in self._book.holds.values())

    def held_of(self, hold_id: str) -> int | None:
        """The picodollars of a hold that are not settled; None: it is not open."""
        hold = self._book.holds.get(hold_id)
        return None if hold is None else hold.held_picousd()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, BudgetState):
            return NotImplemented
        mine, theirs = self._book, other._book
        return (mine.system, mine.last_ms, mine.accounts, mine.holds, mine.ended) == (
            *(theirs.system, theirs.last_ms, theirs.accounts),
            *(theirs.holds, theirs.ended),
        )

    __hash__ = None  # type: ignore[assignment]  # it changes

    def decide(self, request: HoldRequest, policies: Policies, now_ms: int) -> Grant | Wait | HoldRefused:
        """Whether the amounts of a request can be reserved; changes nothing."""
        return decisions.decide(self._book, self._compiled, policies, request, now_ms)

    def settle(self, usage: UsageRecorded, policies: Policies, now_ms: int) -> Settled | None:
        """The booking of one attempt, in the periods of its hold; None if it was booked before. Without a hold it
        counts when it happened, at the earliest a month ago.
        """
        book = self._book
        hold_id = hold_id_of(usage)
        hold, ended = book.holds.get(hold_id), book.ended.get(hold_id)
        known = hold or ended
        if known is not None and usage.attempt in known.attempts:
            return None
        if known is not None:
            at_ms, time_zone, traffic = known.at_ms, known.time_zone, known.traffic
        else:
            time_zone = policies.time_zone("" if book.system else usage.account)
            at_ms, traffic = self._own_time(usage, time_zone, now_ms), traffic_of(usage.lane, usage.kind)
        return Settled(
            id=hold_id,
            attempt=usage.attempt,
            account=hold.account if hold else usage.account,
            user=hold.user if hold else usage.user,
            key=hold.key if hold else usage.key,
            traffic=traffic,
            role=usage.role,
            model=usage.model,
            input_tokens=token_count(usage.input_tokens),
            output_tokens=token_count(usage.output_tokens),
            cached_input_tokens=token_count(usage.cached_input_tokens),
            reasoning_tokens=token_count(usage.reasoning_tokens),
            picousd=amount(usage.cost_picousd),
            saved_by_cache_picousd=signed_amount(usage.saved_by_cache_picousd),
            saved_by_routing_picousd=amount(usage.saved_by_routing_microusd * 1_000_000),
            estimated=usage.estimated,
            priced=usage.priced,
            completed=usage.outcome == "completed",
            ends=usage.ends,
            at_ms=at_ms,
            time_zone=time_zone,
        )

    def release(self, hold_id: str, why: str, now_ms: int) -> Released | None:
        """The release of what is left of a hold; None if it has ended."""
        if hold_id not in self._book.holds:
            return None
        return Released(id=hold_id, why=why, at_ms=max(now_ms, self.last_ms))

    def expired(self, now_ms: int, until_ms: int | None = None) -> list[Released]:
        """The releases of all holds whose deadline has passed; with `until_ms`, at that moment."""
        book, now_ms = self._book, max(now_ms, self.last_ms)
        until_ms = now_ms if until_ms is None else until_ms
        found = []
        for hold_id in dict.fromkeys(book.deadlines.take(until_ms)):
            hold = book.holds.get(hold_id)
            if hold is not None and hold.deadline_ms <= until_ms:
                book.deadlines.add(hold_id, hold.deadline_ms)
                found.append(Released(id=hold_id, why="expired", at_ms=now_ms))
        return found

    def apply(self, entry: JournalEntry) -> None:
        self._book.apply(entry)

    def alerts(self, entry: JournalEntry, policies: Policies, now_ms: int) -> list[Alerted]:
        """The alerts that follow from an entry, after it was applied; each becomes an entry."""
        if not isinstance(entry, Settled):
            return []
        now_ms = max(now_ms, self.last_ms)
        return alerting.alerts_of_settlement(self._book, self._compiled, policies, entry, now_ms)

    def alerts_of_refusal(
        self, request: HoldRequest, refusal: HoldRefused, policies: Policies, now_ms: int
    ) -> list[Alerted]:
        """The alerts that follow from a refusal at once (not from one after a wait): budgets that are used up."""
        if refusal.limit is None:
            return []
        now_ms = max(now_ms, self.last_ms)
        return alerting.alerts_of_refusal(self._book, self._compiled, policies, request, now_ms)

    def resets_at_ms(self, alert: Alerted, policies: Policies) -> int:
        """When the period of an alert ends, Unix milliseconds."""
        book, kind = self._book, KINDS[alert.limit]
        values = book.values_of(alert.scope, alert.account, alert.name, alert.traffic)
        if values is not None and starts_at_s(values, kind) != alert.period_start_s:
            values = None
        time_zone = policies.time_zone(alert.account)
        return ends_at_s(values, kind, alert.period_start_s, time_zone, book.calendar) * 1000

    def status(self, query: BudgetQuery, policies: Policies, now_ms: int) -> BudgetStatus:
        return budget_status(self._book, self._compiled, policies, query, now_ms)

    def encode(self) -> bytes:
        return snapshot.encode(self._book)

    @classmethod
    def decode(cls, data: bytes) -> BudgetState:
        """The state from its bytes; raises ValueError if they are not a state of this version."""
        state = cls()
        state._book = snapshot.decode(data)
        return state

    def _own_time(self, usage: UsageRecorded, time_zone: str, now_ms: int) -> int:
        """When an attempt without a hold counts."""
        now_ms = max(now_ms, self.last_ms)
        calendar = self._book.calendar
        month_s = calendar.at(now_ms // 1000, time_zone).month_start_s
        last_month_s = self._last_months.at(month_s - 1, time_zone).month_start_s
        return min(max(usage.at_ms, last_month_s * 1000), now_ms)


def hold_id_of(usage: UsageRecorded) -> str:
    """The id of the hold that an attempt belongs to, whether or not it was granted."""
    return usage.hold_id or f"{usage.account}.{usage.client}.{usage.id}"
