"""Waiting for the ledger does not let one account occupy the router."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from services.router.budget.wait_slots import WaitSlots


def test_f3_one_account_waits_with_at_most_half_of_those_that_may() -> None:
    slots = WaitSlots(most_of_account=2, most=3)
    with ExitStack() as stack:
        taken = [stack.enter_context(slots.taken("one")) for _ in range(3)]
        assert taken == [True, True, False]
        assert stack.enter_context(slots.taken("two"))
        assert not stack.enter_context(slots.taken("three")), "all are taken"


def test_f3_a_slot_is_free_again_also_after_an_error() -> None:
    slots = WaitSlots(most_of_account=1, most=1)
    for _ in range(3):
        with pytest.raises(TimeoutError):
            _fail_while_waiting(slots)


def _fail_while_waiting(slots: WaitSlots) -> None:
    with slots.taken("one") as free:
        assert free
        raise TimeoutError


class _Waiting(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.slots = WaitSlots(most_of_account=2, most=4)
        self.open: list[tuple[str, bool, ExitStack]] = []

    @rule(account=st.sampled_from("abc"))
    def enter(self, account: str) -> None:
        stack = ExitStack()
        free = self.count() < 4 and self.count(account) < 2
        assert stack.enter_context(self.slots.taken(account)) is free
        self.open.append((account, free, stack))

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, len(self.open) - 1))
        self.open.pop(index)[2].close()

    @invariant()
    def within_the_limits(self) -> None:
        assert self.count() <= 4

    def count(self, account: str | None = None) -> int:
        return sum(free for name, free, _ in self.open if account in (None, name))


TestWaiting = _Waiting.TestCase
