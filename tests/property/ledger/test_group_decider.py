"""F1, C5: what a partition grants round by round, when the system has limits and when not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from msgspec import Struct, structs

from penstock.bus.tracing import NO_SPAN
from penstock.contract.ledger.holds import HoldAnswer, HoldGranted, HoldRefused, HoldRequest
from penstock.contract.ledger.journal import Held
from penstock.contract.ledger.limits import LimitStatus
from penstock.contract.ledger.policies import BudgetLimits, BudgetPolicy
from services.ledger.budget.state import BudgetState
from services.ledger.partitions.asked import AskedHold, Question
from services.ledger.partitions.group_decider import Group, GroupDecider
from services.ledger.partitions.usage_events import UsageEvent
from tests.harness.requests.budget_requests import account_policy, hold_request, policies, usage_of
from tests.harness.suite.examples import examples

NOON_MS = 1_795_953_600_000
MOST_WAITING = 64
LIMITS = st.builds(
    BudgetLimits,
    concurrency=st.none() | st.integers(0, 4),
    tokens_per_day=st.none() | st.integers(0, 200),
)
REQUESTS = st.lists(
    st.tuples(
        st.sampled_from(["shop", "shop", "other"]),
        st.sampled_from(["", "anna"]),
        st.integers(0, 40),
        st.sampled_from([0.0, 5.0, 60.0]),
    ),
    max_size=6,
)
VERDICTS = st.lists(st.sampled_from(["granted", "granted", "granted", "wait", "refused"]), min_size=1)


class Round(Struct):
    """What one round decided."""

    asked: list[HoldRequest]
    verdicts: Mapping[str, HoldAnswer] | None
    group: Group


class DeciderMachine(RuleBasedStateMachine):
    """Requests of two accounts come, are asked again, wait, end; policies change, also during a round."""

    def __init__(self) -> None:
        super().__init__()
        self.policies = policies()
        self.budget = BudgetState()
        self.decider = GroupDecider(self.budget, self.policies)
        self.now_s = 0.0
        self.sent: dict[str, HoldRequest] = {}
        """In the order in which they came first."""
        self.unanswered: dict[str, int] = {}
        """Requests without an answer, and the most tokens that were asked for."""
        self.queue: list[AskedHold] = []
        self.usage = 0

    @rule(new=REQUESTS)
    def requests_come(self, new: list[tuple[str, str, int, float]]) -> None:
        for account, user, tokens, wait_s in new:
            number = len(self.sent)
            fields = {"account": account, "user": user, "tokens": tokens, "wait_s": wait_s}
            self.send(hold_request(number, **fields))

    @rule(which=st.integers(0, 200), more=st.sampled_from([0, 0, 5]))
    def a_request_is_asked_again(self, which: int, more: int) -> None:
        if self.sent:
            request = list(self.sent.values())[which % len(self.sent)]
            self.send(structs.replace(request, tokens=request.tokens + more))

    @rule(count=st.integers(1, 70))
    def many_requests_come(self, count: int) -> None:
        for _ in range(count):
            self.send(hold_request(len(self.sent), tokens=1, wait_s=60.0))

    @rule(limits=LIMITS, of_user=LIMITS)
    def a_policy_changes(self, limits: BudgetLimits, of_user: BudgetLimits) -> None:
        self.policies.of_account = account_policy(limits)
        self.policies.of_user = BudgetPolicy(scope="user", account="*", name="*", limits=of_user)

    @rule(
        has_system=st.booleans(),
        kinds=VERDICTS,
        ending=st.lists(st.integers(0, 100), max_size=3),
        meanwhile=st.none() | LIMITS,
        tick=st.booleans(),
        step_s=st.sampled_from([0.0, 0.1, 6.0]),
    )
    def a_round(
        self,
        has_system: bool,
        kinds: list[str],
        ending: list[int],
        meanwhile: BudgetLimits | None,
        tick: bool,
        step_s: float,
    ) -> None:
        self.now_s += step_s
        group = Group(NOON_MS + int(self.now_s * 1000))
        self.end_requests(group, ending)
        self.decider.expire(group, group.now_ms)
        taken, self.queue = self.queue, []
        due = self.decider.due_accounts(group, all_of_them=tick)
        verdicts = None
        asked: list[HoldRequest] = []
        if has_system:
            asked = self.decider.candidates(group, due, taken)
            verdicts = {
                each.id: verdict(each, kinds[number % len(kinds)]) for number, each in enumerate(asked)
            }
        if meanwhile is not None:
            self.policies.of_account = account_policy(meanwhile)
        self.decider.admit_waiting(group, due, verdicts)
        for each in taken:
            self.decider.hold(group, each, verdicts, self.now_s)
        self.queue = group.deferred + self.queue
        self.decider.end_waits(group, self.now_s)
        self.check(Round(asked, verdicts, group))

    def send(self, request: HoldRequest) -> None:
        first = self.sent.setdefault(request.id, request)
        if first is request or request.id in self.unanswered:
            self.unanswered.setdefault(request.id, len(self.sent))
        self.queue.append(AskedHold(request, Question(b"", "reply", {}, 0), NO_SPAN))

    def end_requests(self, group: Group, ending: list[int]) -> None:
        held = [hold_id for hold_id in self.sent if self.budget.held_of(hold_id) is not None]
        for which in ending[: len(held)]:
            request = self.sent[held[which % len(held)]]
            self.usage += 1
            usage = usage_of(request, input_tokens=0, cost_picousd=0, at_ms=group.now_ms)
            self.decider.settle(group, UsageEvent(self.usage, usage))

    def check(self, done: Round) -> None:
        allowed = {each.id: each for each in done.asked}
        new = [entry for entry in done.group.entries if isinstance(entry, Held)]
        if done.verdicts is not None:
            for entry in new:
                assert isinstance(done.verdicts.get(entry.id), HoldGranted), "the system was not asked"
                assert entry.tokens <= allowed[entry.id].tokens, "the system was asked for less"
        for asked, _ in done.group.answers:
            self.unanswered.pop(asked.request.id, None)
        unused = self.decider.unused(done.verdicts or {})
        assert all(self.budget.held_of(hold_id) is None for hold_id in unused)

    @invariant()
    def waiting_requests_are_bounded(self) -> None:
        for account in self.decider.waiting.accounts:
            assert len(self.decider.waiting.requests(account)) <= MOST_WAITING

    @invariant()
    def every_unanswered_request_waits_or_is_in_the_queue(self) -> None:
        known = {each.request.id for each in self.queue}
        for account in self.decider.waiting.accounts:
            known |= {each.id for each in self.decider.waiting.requests(account)}
        assert set(self.unanswered) <= known

    def teardown(self) -> None:
        """Nothing is put off for ever: without changes two rounds decide all that came."""
        for _ in range(2):
            self.a_round(True, ["granted"], [], None, True, 0.0)
        assert not self.queue


def verdict(request: HoldRequest, kind: str) -> HoldAnswer:
    if kind == "granted":
        return HoldGranted(id=request.id)
    held = 1 if kind == "wait" else 0
    limit = LimitStatus(scope="system", limit="concurrency", allowed=1, held=held)
    return HoldRefused(id=request.id, code="rate_limited", message="", limit=limit)


TestDeciderMachine: Any = DeciderMachine.TestCase
TestDeciderMachine.settings = settings(max_examples=examples(150), stateful_step_count=25, deadline=None)
