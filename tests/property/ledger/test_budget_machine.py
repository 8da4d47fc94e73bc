"""F1, F2: the budget state against a sequential model, for any order of what can happen."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule
from msgspec import structs

from penstock.contract.ledger.holds import HoldRefused, HoldRequest
from penstock.contract.ledger.journal import JournalEntry, TookOver
from penstock.contract.ledger.policies import BudgetLimits, BudgetPolicy
from penstock.contract.ledger.status import BudgetQuery
from services.ledger.budget.state import BudgetState, Grant, Wait
from tests.harness.requests.budget_requests import account_policy, hold_request, policies, usage_of
from tests.harness.suite.examples import examples
from tests.property.ledger.sequential_budget import (
    COUNTED,
    LATE_MS,
    UNHELD_MS,
    Attempt,
    OpenHold,
    ScopeName,
    SequentialBudget,
    allowed_by,
    is_of,
    scopes,
)

STARTS = [
    (zone, datetime.fromisoformat(local))
    for zone, local in (
        ("UTC", "2026-12-31T23:59:30"),
        ("Europe/Berlin", "2026-03-29T01:59:30"),
        ("Europe/Berlin", "2026-10-25T02:59:30"),
        ("America/New_York", "2026-11-01T00:30:00"),
        ("Australia/Lord_Howe", "2026-04-05T01:45:00"),
        ("Asia/Kolkata", "2026-02-28T23:59:59"),
        ("Pacific/Chatham", "2028-02-29T12:00:00"),
    )
]
STEPS_MS = st.one_of(
    st.integers(-5_000, 5_000),
    st.sampled_from([30_000, 60_000, 119_000, 1_800_000, 3_600_000, 86_400_000, 27 * 86_400_000]),
)
PICOUSD = st.integers(0, 8).map(lambda quarters: quarters * 250_000)
TOKENS = st.integers(0, 12)
LIMITS = st.builds(
    BudgetLimits,
    requests_per_second=st.none() | st.integers(0, 3),
    requests_per_minute=st.none() | st.integers(1, 4),
    requests_per_hour=st.none() | st.integers(2, 6),
    tokens_per_minute=st.none() | st.integers(0, 20),
    tokens_per_day=st.none() | st.integers(5, 40),
    microusd_per_day=st.none() | st.integers(0, 4),
    microusd_per_month=st.none() | st.integers(1, 6),
    concurrency=st.none() | st.integers(0, 3),
)
SOFT = st.sets(st.sampled_from(["tokens_per_minute", "microusd_per_day"]), max_size=1).map(tuple)


class BudgetMachine(RuleBasedStateMachine):
    """Everything that can happen to the budgets of one partition."""

    ids = Bundle("ids")

    def __init__(self) -> None:
        super().__init__()
        self.state = BudgetState()
        self.journal: list[JournalEntry] = []
        self.policies = policies()
        self.requests: dict[str, HoldRequest] = {}
        self.highest: dict[tuple[ScopeName, str], int | None] = {}
        self.excess: dict[tuple[ScopeName, str, object], int] = {}

    @initialize(start=st.sampled_from(STARTS))
    def begin(self, start: tuple[str, datetime]) -> None:
        zone, local = start
        self.policies.zone = "" if zone == "UTC" else zone
        self.clock_ms = int(local.replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)
        self.model = SequentialBudget(ZoneInfo(zone))
        self.store(TookOver(instance="a", at_ms=self.clock_ms))

    @property
    def now_ms(self) -> int:
        return max(self.clock_ms, self.model.last_ms)

    def store(self, entry: JournalEntry) -> None:
        self.state.apply(entry)
        self.journal.append(entry)
        self.model.advance(entry.at_ms)

    @rule(step_ms=STEPS_MS)
    def the_clock_steps(self, step_ms: int) -> None:
        self.clock_ms += step_ms

    @rule(account=LIMITS, chat=st.none() | LIMITS, user=LIMITS, key=LIMITS, soft=SOFT)
    def a_policy_changes(
        self,
        account: BudgetLimits,
        chat: BudgetLimits | None,
        user: BudgetLimits,
        key: BudgetLimits,
        soft: tuple,
    ) -> None:
        self.policies.of_account = account_policy(account, chat=chat, soft=soft)
        self.policies.of_user = BudgetPolicy(scope="user", account="*", name="*", limits=user)
        self.policies.of_key = BudgetPolicy(scope="key", account="*", name="*", limits=key)

    @rule(
        target=ids,
        user=st.sampled_from(["", "anna", "boris"]),
        key=st.sampled_from(["", "k1"]),
        traffic=st.sampled_from(["chat", "embed"]),
        amounts=st.tuples(PICOUSD, TOKENS),
        timeout_ms=st.sampled_from([1_000, 60_000, 86_400_000]),
    )
    def a_request_comes(self, user: str, key: str, traffic: str, amounts: tuple, timeout_ms: int) -> str:
        request = hold_request(
            len(self.requests) + 1,
            user=user,
            key=key,
            traffic=traffic,
            role=traffic,
            picousd=amounts[0],
            tokens=amounts[1],
            deadline_ms=self.now_ms + timeout_ms,
        )
        self.requests[request.id] = request
        self.hold(request)
        return request.id

    @rule(
        hold_id=ids,
        more=st.tuples(PICOUSD, TOKENS),
        later_ms=st.sampled_from([0, 0, 5_000]),
        raises=st.booleans(),
    )
    def a_hold_is_asked_for_again(self, hold_id: str, more: tuple, later_ms: int, *, raises: bool) -> None:
        request = self.requests[hold_id]
        self.hold(
            structs.replace(
                request,
                picousd=request.picousd + more[0],
                tokens=request.tokens + more[1],
                deadline_ms=request.deadline_ms + later_ms,
                raises=raises,
            )
        )

    def hold(self, request: HoldRequest) -> None:
        expected = self.model.decide(request, self.policies, self.now_ms)
        before = self.state.encode()
        decision = self.state.decide(request, self.policies, self.clock_ms)
        assert self.state.encode() == before
        kinds = {Grant: "granted", Wait: "wait", HoldRefused: "refused"}
        assert kinds[type(decision)] == expected, decision
        if not isinstance(decision, Grant) or decision.entry is None:
            return
        entry, open_hold = decision.entry, self.model.open.get(request.id)
        self.requests[request.id] = structs.replace(
            self.requests[request.id], picousd=entry.picousd, tokens=entry.tokens
        )
        if open_hold is None and not (request.raises and request.id in self.model.ended):
            self.model.counted.append((request, self.now_ms))
            self.model.forget_attempts(request.id)
        grows = open_hold is None or (request.picousd, request.tokens) != (
            open_hold.picousd,
            open_hold.tokens,
        )
        self.model.ended.pop(request.id, None)
        self.model.open[request.id] = OpenHold(
            *(request, entry.picousd, entry.tokens),
            self.now_ms if grows else open_hold.at_ms,
            entry.deadline_ms,
        )
        self.store(entry)
        self.raise_highest(request)

    def raise_highest(self, request: HoldRequest) -> None:
        for scope, policy in scopes(request, self.policies):
            for name in COUNTED:
                allowed = allowed_by(policy, scope[2], name)
                before = self.highest.get((scope, name), 0)
                unlimited = allowed is None or before is None or name in policy.soft
                self.highest[scope, name] = None if unlimited else max(allowed, before)

    @rule(
        hold_id=ids,
        attempt=st.integers(1, 3),
        share=st.sampled_from([0, 1, 2, 4, 5]),
        ends=st.booleans(),
        age_ms=st.sampled_from([0, 60_000, 86_400_000, 100 * 86_400_000]),
    )
    def an_attempt_is_reported(self, hold_id: str, attempt: int, share: int, ends: bool, age_ms: int) -> None:
        request = self.requests[hold_id]
        usage = usage_of(
            request,
            attempt,
            cost_picousd=request.picousd * share // 4,
            input_tokens=request.tokens * share // 8,
            output_tokens=request.tokens * share // 8,
            ends=ends,
            at_ms=self.clock_ms - age_ms,
        )
        entry = self.state.settle(usage, self.policies, self.clock_ms)
        booked = (hold_id, attempt) in self.model.attempts
        assert (entry is None) == booked
        if entry is None:
            return
        before = {
            (scope, name): sum(self.model.use(scope, name, entry.at_ms))
            for scope, _ in scopes(request, self.policies)
            for name in COUNTED
        }
        hold = self.model.open.get(hold_id)
        if hold is not None:
            assert entry.at_ms == hold.at_ms
        elif hold_id in self.model.ended:
            assert entry.at_ms == self.model.ended[hold_id][1]
        else:
            assert entry.at_ms <= self.now_ms
            self.model.ended[hold_id] = (max(self.model.last_ms, entry.at_ms) + UNHELD_MS, entry.at_ms)
        tokens = entry.input_tokens + entry.output_tokens
        self.model.attempts[hold_id, attempt] = Attempt(request, entry.at_ms, tokens, entry.picousd)
        self.store(entry)
        if ends and hold is not None:
            self.end(hold_id)
        for (scope, name), total in before.items():
            more = sum(self.model.use(scope, name, entry.at_ms)) - total
            key = scope, name, self.model.period(name, entry.at_ms)
            self.excess[key] = self.excess.get(key, 0) + max(0, more)

    def end(self, hold_id: str) -> None:
        hold = self.model.open.pop(hold_id)
        self.model.ended[hold_id] = (max(hold.deadline_ms, self.model.last_ms) + LATE_MS, hold.at_ms)

    @rule(hold_id=ids)
    def a_request_is_released(self, hold_id: str) -> None:
        entry = self.state.release(hold_id, "cancelled", self.clock_ms)
        assert (entry is None) == (hold_id not in self.model.open)
        if entry is not None:
            self.store(entry)
            self.end(hold_id)

    @rule()
    def holds_expire(self) -> None:
        now_ms = self.now_ms
        found = self.state.expired(self.clock_ms)
        assert {entry.id for entry in self.state.expired(self.clock_ms)} == {entry.id for entry in found}
        ids = {entry.id for entry in found}
        deadlines = {hold_id: hold.deadline_ms for hold_id, hold in self.model.open.items()}
        assert all(deadlines[hold_id] <= now_ms for hold_id in ids)
        overdue = {hold_id for hold_id, deadline_ms in deadlines.items() if deadline_ms <= now_ms - 1000}
        assert overdue <= ids
        for entry in found:
            self.store(entry)
            self.end(entry.id)

    @rule()
    def the_owner_crashes(self) -> None:
        restored = BudgetState.decode(self.state.encode())
        assert restored == self.state
        self.state = restored

    @rule()
    def another_owner_replays_the_journal(self) -> None:
        replayed = BudgetState()
        for entry in self.journal:
            replayed.apply(entry)
        assert replayed == self.state
        self.state = replayed

    @invariant()
    def f1_spent_and_held_are_within_every_hard_limit(self) -> None:
        for (scope, name), highest in self.highest.items():
            if highest is not None:
                use = sum(self.model.use(scope, name, self.now_ms))
                extra = self.excess.get((scope, name, self.model.period(name, self.now_ms)), 0)
                assert use <= highest + extra, (scope, name)

    @invariant()
    def f2_the_status_is_the_sum_of_unique_attempts_and_open_holds(self) -> None:
        for query in (
            BudgetQuery(scope="account", account="shop"),
            BudgetQuery(scope="user", account="shop", name="anna"),
            BudgetQuery(scope="key", account="shop", name="k1"),
        ):
            status = self.state.status(query, self.policies, self.clock_ms)
            scope: ScopeName = (query.scope, query.name or query.account, None)
            mine = [id_ for id_, hold in self.model.open.items() if is_of(hold.request, scope)]
            assert status.open_holds == len(mine)
            held = sum(self.model.left_of(id_)[0] for id_ in mine)
            assert status.held_microusd == (held + 500_000) // 1_000_000
            for limit in status.limits:
                spent, held = self.model.use((*scope[:2], limit.traffic), limit.limit, self.now_ms)
                if limit.limit.startswith("microusd"):
                    spent, held = (spent + 500_000) // 1_000_000, (held + 500_000) // 1_000_000
                assert (limit.spent, limit.held) == (spent, held), limit
                assert limit.resets_at_ms == 0 or limit.resets_at_ms > self.now_ms
        assert self.state.open_holds == len(self.model.open)
        assert self.state.last_ms == self.model.last_ms


TestBudgetMachine = BudgetMachine.TestCase
TestBudgetMachine.settings = settings(max_examples=examples(120), stateful_step_count=40, deadline=None)
