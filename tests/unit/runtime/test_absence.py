"""E2: a reply is given up only when all that could bring it forth is done."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from penstock.client.lost_request import Absence, Queue


class Line:
    """A work queue of which anything may be taken in any order."""

    def __init__(self, passed: int) -> None:
        self.last_seq = passed
        self.waiting: set[int] = set()

    def put(self) -> int:
        self.last_seq += 1
        self.waiting.add(self.last_seq)
        return self.last_seq

    def seen(self) -> Queue:
        return Queue(len(self.waiting), min(self.waiting, default=self.last_seq + 1), self.last_seq)


@given(st.data(), st.integers(0, 3), st.integers(0, 3), st.integers(0, 5))
def test_e2_a_request_under_way_is_never_given_up(
    data: st.DataObject, passed: int, ahead: int, others: int
) -> None:
    requests, work = Line(passed), Line(ahead)
    ours = requests.put()
    for _ in range(others):
        requests.put()
        work.put()
    ours_at_work: int | None = None
    absence = Absence()
    while requests.waiting or work.waiting:
        if absence.is_sure(requests.seen(), work.seen()):
            assert ours not in requests.waiting
            assert ours_at_work not in work.waiting
        if requests.waiting and (not work.waiting or data.draw(st.booleans())):
            taken = data.draw(st.sampled_from(sorted(requests.waiting)))
            routed = work.put()  # before it leaves the requests
            ours_at_work = routed if taken == ours else ours_at_work
            requests.waiting.discard(taken)
        else:
            work.waiting.discard(data.draw(st.sampled_from(sorted(work.waiting))))
    assert absence.is_sure(requests.seen(), work.seen()) or absence.is_sure(requests.seen(), work.seen())


def test_e2_it_is_sure_although_the_queues_are_never_empty() -> None:
    requests, work = Line(0), Line(0)
    absence = Absence()
    first = work.put()
    assert not absence.is_sure(requests.seen(), work.seen())
    work.put()
    work.waiting.discard(first)
    assert absence.is_sure(requests.seen(), work.seen())
