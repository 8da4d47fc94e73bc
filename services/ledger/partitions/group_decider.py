"""The decisions of one partition, in groups: what to write to the journal, and what to answer once it is stored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from msgspec import Struct, field
from msgspec.structs import replace

from penstock.contract.events import UsageRecorded
from penstock.contract.ledger.holds import (
    HoldAnswer,
    HoldBatch,
    HoldBatchAnswer,
    HoldGranted,
    HoldRefused,
    HoldRequest,
)
from penstock.contract.ledger.journal import Alerted, JournalEntry, Settled
from penstock.contract.ledger.limits import LimitStatus
from services.ledger.budget.policies import Policies
from services.ledger.budget.state import BudgetState, Grant, Wait, hold_id_of
from services.ledger.partitions.asked import AskedHold, Question, problem_of, refused, wait_s
from services.ledger.partitions.usage_events import UsageEvent
from services.ledger.partitions.waiting import Waiter, Waiting

__all__ = ["AskedBatch", "Group", "GroupDecider", "Verdicts"]

_CANDIDATES_PER_ACCOUNT: Final = 8
"""Waiting holds of one account for which the system's limits are asked at once."""
_MOST_EXPIRED: Final = 1_000
"""Expired holds that are released in one group, whose batch has to fit into a message."""
_REFUSED: Final = "refused"
Verdicts = Mapping[str, HoldAnswer]
"""The answers of the system's partition, by the id of the hold."""


class AskedBatch(Struct, frozen=True):
    """Holds against the limits of the system, from the owner of another partition."""

    batch: HoldBatch
    question: Question


class Group(Struct):
    """The outcome of one round: entries to store, and the answers to send then."""

    now_ms: int
    entries: list[JournalEntry] = field(default_factory=list)
    answers: list[tuple[AskedHold, HoldAnswer]] = field(default_factory=list)
    batches: list[tuple[AskedBatch, HoldBatchAnswer]] = field(default_factory=list)
    settled: list[tuple[UsageEvent, JournalEntry]] = field(default_factory=list)
    waited: int = 0
    """Answers after a wait."""
    overshoot_picousd: int = 0
    """Settled above what the requests held: all of it where there was no hold, or none any more."""
    freed: dict[str, None] = field(default_factory=dict)
    """Accounts of which something was released."""
    candidates: dict[str, HoldRequest] = field(default_factory=dict)
    """What the system's limits are asked for, by the id of the hold."""
    deferred: list[AskedHold] = field(default_factory=list)
    """Requests that are decided in the next round, because the system's limits were not asked for them."""


class GroupDecider:
    """Decides against the budgets and applies each decision at once, so that the next one counts it.

    The budgets are ahead of the journal until the group is stored; if that fails, the state has to be loaded again.
    """

    def __init__(self, budget: BudgetState, policies: Policies) -> None:
        self._budget = budget
        self._policies = policies
        self.waiting = Waiting()
        self._more_expired = False
        self._due: dict[str, None] = {}
        """Accounts whose waiting holds are to be decided again in the next round."""

    @property
    def last_ms(self) -> int:
        return self._budget.last_ms

    @property
    def is_due(self) -> bool:
        """Whether another round has something to do at once."""
        return bool(self._due) or self._more_expired

    def settle(self, group: Group, event: UsageEvent) -> None:
        """Book the usage of an attempt, or release a hold; nothing if that was done before.

        A second report of an attempt may be the one that says that its request is over: it releases the hold.
        """
        usage = event.event
        if usage is None:
            return
        entry: JournalEntry | None
        if isinstance(usage, UsageRecorded):
            hold_id = hold_id_of(usage)
            held = self._budget.held_of(hold_id)
            entry = self._budget.settle(usage, self._policies, group.now_ms)
            if entry is None and usage.ends:
                entry = self._budget.release(hold_id, usage.outcome, group.now_ms)
            elif isinstance(entry, Settled):
                group.overshoot_picousd += max(0, entry.picousd - (held or 0))
        else:
            entry = self._budget.release(usage.hold_id, usage.why, group.now_ms)
        if entry is not None:
            self._record(group, entry)
            group.settled.append((event, entry))
            group.freed[usage.account] = None

    def expire(self, group: Group, complete_ms: int) -> None:
        """Release the holds that are past their deadlines.

        Only those whose deadline was before `complete_ms`, up to which all usage is booked: otherwise another request
        could hold what one of them has spent.
        """
        expired = self._budget.expired(group.now_ms, min(group.now_ms, complete_ms))
        self._more_expired = len(expired) > _MOST_EXPIRED
        for entry in expired[:_MOST_EXPIRED]:
            self._record(group, entry)
            group.freed[_account_of(entry.id)] = None

    def due_accounts(self, group: Group, *, all_of_them: bool) -> list[str]:
        """Accounts whose waiting holds are decided again in this round."""
        if not self.waiting:
            return []
        due = {**self._due, **group.freed}
        self._due = {}
        return [each for each in self.waiting.accounts if all_of_them or each in due]

    def candidates(
        self, group: Group, accounts: Iterable[str], asked: Iterable[AskedHold]
    ) -> list[HoldRequest]:
        """The requests for which the system's limits must be asked: those that the own limits allow."""
        for account in accounts:
            for request in self._waiting_candidates(group, account):
                group.candidates[request.id] = request
        for each in asked:
            request = each.request
            if self._would_store(group, request):
                known = group.candidates.get(request.id)
                group.candidates[request.id] = request if known is None else _highest(known, request)
        return list(group.candidates.values())

    def admit_waiting(self, group: Group, accounts: Iterable[str], verdicts: Verdicts | None) -> None:
        """Decide again about the waiting holds of these accounts. `verdicts`: as in `hold`."""

        def decide(waiter: Waiter) -> HoldRefused | None:
            request = waiter.asked.request
            if self._is_unasked(group, request, verdicts):
                self._due[request.account] = None
                return waiter.refusal
            refusal = self._decide(group, waiter.asked, verdicts)
            group.waited += refusal is None
            return refusal

        for account in accounts:
            self.waiting.admit(account, decide)

    def hold(self, group: Group, asked: AskedHold, verdicts: Verdicts | None, now_s: float) -> None:
        """Answer a request, or let it wait, or put it off. `verdicts`: None if the system has no limits."""
        request = asked.request
        if self._is_unasked(group, request, verdicts):
            group.deferred.append(asked)
            return
        refusal = self._decide(group, asked, verdicts)
        if refusal is None:
            self.waiting.discard(request)
            return
        waiter = Waiter(asked, refusal, now_s + wait_s(request))
        turned_away = waiter if wait_s(request) <= 0 else self.waiting.add(waiter)
        if turned_away is not None:
            group.answers.append((turned_away.asked, turned_away.refusal))

    def end_waits(self, group: Group, now_s: float) -> None:
        """Refuse the requests whose wait is over."""
        over = list(self.waiting.take_expired(now_s))
        group.answers += [(each.asked, each.refusal) for each in over]
        group.waited += len(over)

    def unused(self, verdicts: Verdicts) -> list[str]:
        """Holds that the system's partition granted and not used, after a round."""
        return [
            hold_id
            for hold_id, answer in verdicts.items()
            if isinstance(answer, HoldGranted) and self._budget.held_of(hold_id) is None
        ]

    def batch(self, group: Group, asked: AskedBatch) -> None:
        """Answer the holds of another partition at once: its owner lets them wait."""
        for hold_id in asked.batch.released:
            released = self._budget.release(hold_id, _REFUSED, group.now_ms)
            if released is not None:
                self._record(group, released)
        answers = tuple(self._answer_now(group, each) for each in asked.batch.holds)
        group.batches.append((asked, HoldBatchAnswer(answers=answers)))

    def _answer_now(self, group: Group, request: HoldRequest) -> HoldAnswer:
        problem = problem_of(request, group.now_ms)
        if problem is not None:
            return refused(request.id, problem)
        outcome = self._budget.decide(request, self._policies, group.now_ms)
        if isinstance(outcome, Grant):
            self._grant(group, outcome)
            return outcome.answer
        if isinstance(outcome, Wait):
            return outcome.refusal
        alerts = self._budget.alerts_of_refusal(request, outcome, self._policies, group.now_ms)
        self._alert(group, alerts)
        return outcome

    def _decide(self, group: Group, asked: AskedHold, verdicts: Verdicts | None) -> HoldRefused | None:
        """Answer a request; or the refusal with which it may wait."""
        request = asked.request
        verdict = None if verdicts is None else verdicts.get(request.id)
        outcome = self._budget.decide(request, self._policies, group.now_ms)
        answer: HoldAnswer
        if isinstance(outcome, Grant):
            if isinstance(verdict, HoldRefused) and outcome.entry is not None:
                if _may_wait(verdict):
                    return verdict
                answer = verdict
            else:
                self._grant(group, outcome)
                answer = outcome.answer if verdict is None else _merged(outcome.answer, verdict)
        elif isinstance(outcome, Wait):
            return outcome.refusal
        else:
            self._alert(group, self._budget.alerts_of_refusal(request, outcome, self._policies, group.now_ms))
            answer = outcome
        group.answers.append((asked, answer))
        return None

    def _waiting_candidates(self, group: Group, account: str) -> list[HoldRequest]:
        found: list[HoldRequest] = []
        for request in self.waiting.requests(account):
            if len(found) == _CANDIDATES_PER_ACCOUNT:
                break
            if self._would_store(group, request):
                found.append(request)
        return found

    def _is_unasked(self, group: Group, request: HoldRequest, verdicts: Verdicts | None) -> bool:
        """Whether a request fits now, but did not when the system's limits were asked, so that they must be asked in
        the next round: a policy changed meanwhile, or the waiter before it was admitted.
        """
        if verdicts is None:
            return False
        asked = group.candidates.get(request.id) if request.id in verdicts else None
        covered = asked is not None and asked.picousd >= request.picousd and asked.tokens >= request.tokens
        return not covered and self._would_store(group, request)

    def _would_store(self, group: Group, request: HoldRequest) -> bool:
        outcome = self._budget.decide(request, self._policies, group.now_ms)
        return isinstance(outcome, Grant) and outcome.entry is not None

    def _grant(self, group: Group, grant: Grant) -> None:
        if grant.entry is not None:
            self._record(group, grant.entry)

    def _record(self, group: Group, entry: JournalEntry) -> None:
        self._budget.apply(entry)
        group.entries.append(entry)
        self._alert(group, self._budget.alerts(entry, self._policies, group.now_ms))

    def _alert(self, group: Group, alerts: list[Alerted]) -> None:
        for alert in alerts:
            self._budget.apply(alert)
            group.entries.append(alert)


def _account_of(hold_id: str) -> str:
    return hold_id.partition(".")[0]


def _highest(one: HoldRequest, other: HoldRequest) -> HoldRequest:
    """What a hold has to allow if it was asked for twice: amounts are cumulative."""
    return replace(
        other,
        picousd=max(one.picousd, other.picousd),
        tokens=max(one.tokens, other.tokens),
        output_tokens=max(one.output_tokens, other.output_tokens),
        deadline_ms=max(one.deadline_ms, other.deadline_ms),
    )


def _may_wait(verdict: HoldRefused) -> bool:
    """Whether the system's limit is used up by holds that may be released: there it would wait."""
    limit = verdict.limit
    return verdict.code == "rate_limited" and limit is not None and limit.held > 0


def _merged(own: HoldGranted, system: HoldAnswer) -> HoldGranted:
    """The limits with the fewest left; either one may bound the request."""
    if not isinstance(system, HoldGranted):
        return own
    return replace(
        own,
        requests=_tighter(own.requests, system.requests),
        tokens=_tighter(own.tokens, system.tokens),
        unbounded=own.unbounded and system.unbounded,
    )


def _tighter(one: LimitStatus | None, other: LimitStatus | None) -> LimitStatus | None:
    if one is None or other is None:
        return one or other
    return one if one.left <= other.left else other
