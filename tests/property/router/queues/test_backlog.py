"""The backlog never counts less than is queued, however reservations and snapshots interleave."""

from __future__ import annotations

from collections import Counter

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from penstock.contract.names import RANKS
from penstock.contract.subjects import WorkAddress, work
from services.router.queues.backlog import Backlog

FLOWS = ("0000000aa", "0000000ab", "fffffffff")
"""Two requests of one account, and one of another."""

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
        self.queued: Counter[WorkAddress] = Counter()
        self.reserved: Counter[WorkAddress] = Counter()
        self.answer: Counter[WorkAddress] | None = None
        self.requested = False

    @rule(address=addresses)
    def reserve(self, address: WorkAddress) -> None:
        self.backlog.reserve(address)
        self.reserved[address] += 1

    @precondition(lambda self: +self.reserved)
    @rule(data=st.data())
    def store(self, data: st.DataObject) -> None:
        address = self._one_reserved(data)
        self.queued[address] += 1
        self.backlog.commit(address)

    @precondition(lambda self: +self.reserved)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        self.backlog.release(self._one_reserved(data))

    def _one_reserved(self, data: st.DataObject) -> WorkAddress:
        address = data.draw(st.sampled_from(sorted(+self.reserved)))
        self.reserved[address] -= 1
        return address

    @precondition(lambda self: +self.queued)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        self.queued[data.draw(st.sampled_from(sorted(+self.queued)))] -= 1

    @rule()
    def request_a_count(self) -> None:
        self.backlog.begin_count()
        self.requested, self.answer = True, None

    @precondition(lambda self: self.requested)
    @rule()
    def the_server_counts(self) -> None:
        self.answer = Counter(self.queued)

    @precondition(lambda self: self.answer is not None)
    @rule()
    def receive_the_count(self) -> None:
        self.backlog.snapshot(
            {work(*address): count for address, count in (+self.answer).items()}, self.routers
        )
        self.requested, self.answer = False, None

    @rule()
    def a_quiet_moment_shows_the_truth(self) -> None:
        self.backlog.begin_count()
        self.backlog.snapshot(
            {work(*address): count for address, count in (+self.queued).items()} | {"x": 9}, self.routers
        )
        self.requested, self.answer = False, None
        for role, lane in {(each.role, each.lane) for each in self.queued | self.reserved}:
            assert self.backlog.observed(role, lane) == self._sum(role=role, lane=lane)
            assert self.backlog.queued(role, lane) == self._with_others(role=role, lane=lane)
            assert self.backlog.ahead(role, lane, RANKS[-1]) == self._with_others(role=role, lane=lane)
            assert self.backlog.ahead(role, lane, 0) == self._with_others(role=role, lane=lane, rank=0)
            for flow in FLOWS:
                assert self.backlog.of_flow(role, lane, flow) == self._sum(role=role, lane=lane, flow=flow)
            first, second, other = (self._sum(role=role, lane=lane, flow=flow) for flow in FLOWS)
            assert self.backlog.of_account(role, lane, "0000000a") == first + second
            assert self.backlog.of_account(role, lane, "ffffffff") == other

    @invariant()
    def it_never_counts_less_than_is_queued(self) -> None:
        for address in self.queued | self.reserved:
            assert self.backlog.of_flow(address.role, address.lane, address.flow) >= self._sum(
                role=address.role, lane=address.lane, flow=address.flow
            )

    @rule(routers=st.integers(1, 4))
    def others_come_or_go(self, routers: int) -> None:
        """The other routers enqueue nothing here; the estimate for them only adds to the count."""
        self.routers = routers

    @invariant()
    def the_estimate_for_other_routers_is_separate(self) -> None:
        for role, lane in {(each.role, each.lane) for each in self.queued | self.reserved}:
            known = self.backlog.observed(role, lane)
            assert self._sum(role=role, lane=lane) <= known <= self.backlog.queued(role, lane)

    def _with_others(self, **wanted: object) -> int:
        """Each other router is about to store as much as this one."""
        return _matching(self.queued, wanted) + _matching(self.reserved, wanted) * self.routers

    def _sum(self, **wanted: object) -> int:
        return _matching(self.queued, wanted) + _matching(self.reserved, wanted)


def _matching(counts: Counter[WorkAddress], wanted: dict[str, object]) -> int:
    return sum(
        count
        for address, count in counts.items()
        if all(getattr(address, name) == value for name, value in wanted.items())
    )


TestOneRouter = OneRouter.TestCase
