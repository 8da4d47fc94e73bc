"""The router's counts of each mailbox: never less than is there, however its own work and the snapshots interleave."""

from __future__ import annotations

from collections import Counter

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from penstock.contract.names import RANKS
from penstock.contract.subjects import WorkAddress, work
from services.router.queues.backlog import Backlog

FLOWS = ("0000000aa", "0000000ab", "fffffffff")
"""Two of one account, and one of another."""

addresses = st.builds(
    WorkAddress,
    st.sampled_from(["chat", "coding"]),
    st.sampled_from(["interactive", "batch"]),
    st.sampled_from(RANKS),
    st.sampled_from(FLOWS),
)


class OneRouter(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.backlog = Backlog()
        self.routers = 1
        self.there: Counter[WorkAddress] = Counter()
        self.reserved: Counter[WorkAddress] = Counter()
        self.answer: Counter[WorkAddress] | None = None
        self.asked = False

    @rule(address=addresses)
    def reserve(self, address: WorkAddress) -> None:
        self.backlog.reserve(address)
        self.reserved[address] += 1

    @precondition(lambda self: +self.reserved)
    @rule(data=st.data())
    def store(self, data: st.DataObject) -> None:
        address = self._one_reserved(data)
        self.there[address] += 1
        self.backlog.commit(address)

    @precondition(lambda self: +self.reserved)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        self.backlog.release(self._one_reserved(data))

    def _one_reserved(self, data: st.DataObject) -> WorkAddress:
        address = data.draw(st.sampled_from(sorted(+self.reserved)))
        self.reserved[address] -= 1
        return address

    @precondition(lambda self: +self.there)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        self.there[data.draw(st.sampled_from(sorted(+self.there)))] -= 1

    @rule()
    def ask(self) -> None:
        self.backlog.begin_count()
        self.asked, self.answer = True, None

    @precondition(lambda self: self.asked)
    @rule()
    def the_server_counts(self) -> None:
        self.answer = Counter(self.there)

    @precondition(lambda self: self.answer is not None)
    @rule()
    def hear(self) -> None:
        self.backlog.snapshot(
            {work(*address): count for address, count in (+self.answer).items()}, self.routers
        )
        self.asked, self.answer = False, None

    @rule()
    def a_quiet_moment_shows_the_truth(self) -> None:
        self.backlog.begin_count()
        self.backlog.snapshot(
            {work(*address): count for address, count in (+self.there).items()} | {"x": 9}, self.routers
        )
        self.asked, self.answer = False, None
        for role, lane in {(each.role, each.lane) for each in self.there | self.reserved}:
            assert self.backlog.observed(role, lane) == self._sum(role=role, lane=lane)
            assert self.backlog.queued(role, lane) == self._with_others(role=role, lane=lane)
            assert self.backlog.ahead(role, lane, 3) == self._with_others(role=role, lane=lane)
            assert self.backlog.ahead(role, lane, 0) == self._with_others(role=role, lane=lane, rank=0)
            for flow in FLOWS:
                assert self.backlog.of_flow(role, lane, flow) == self._sum(role=role, lane=lane, flow=flow)
            first, second, other = (self._sum(role=role, lane=lane, flow=flow) for flow in FLOWS)
            assert self.backlog.of_account(role, lane, "0000000a") == first + second
            assert self.backlog.of_account(role, lane, "ffffffff") == other

    @invariant()
    def it_never_counts_too_little(self) -> None:
        for address in self.there | self.reserved:
            assert self.backlog.of_flow(address.role, address.lane, address.flow) >= self._sum(
                role=address.role, lane=address.lane, flow=address.flow
            )

    @rule(routers=st.integers(1, 4))
    def others_come_or_go(self, routers: int) -> None:
        """They put in nothing here: that they might counts as there, never as less."""
        self.routers = routers

    @invariant()
    def what_is_only_guessed_stands_apart(self) -> None:
        for role, lane in {(each.role, each.lane) for each in self.there | self.reserved}:
            known = self.backlog.observed(role, lane)
            assert self._sum(role=role, lane=lane) <= known <= self.backlog.queued(role, lane)

    def _with_others(self, **wanted: object) -> int:
        """Each other router is about to store as much as this one."""
        return _matching(self.there, wanted) + _matching(self.reserved, wanted) * self.routers

    def _sum(self, **wanted: object) -> int:
        return _matching(self.there, wanted) + _matching(self.reserved, wanted)


def _matching(counts: Counter[WorkAddress], wanted: dict[str, object]) -> int:
    return sum(
        count
        for address, count in counts.items()
        if all(getattr(address, name) == value for name, value in wanted.items())
    )


TestOneRouter = OneRouter.TestCase
