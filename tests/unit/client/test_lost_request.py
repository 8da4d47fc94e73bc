"""E2: a request is reported lost only when everything that was queued before it is processed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from penstock.client.lost_request import LostRequestCheck, QueueState


class WorkQueue:
    """A work queue from which messages are taken in any order."""

    def __init__(self, passed: int) -> None:
        self.last_seq = passed
        self.waiting: set[int] = set()

    def put(self) -> int:
        self.last_seq += 1
        self.waiting.add(self.last_seq)
        return self.last_seq

    def state(self) -> QueueState:
        return QueueState(len(self.waiting), min(self.waiting, default=self.last_seq + 1), self.last_seq)


@given(st.data(), st.integers(0, 3), st.integers(0, 3), st.integers(0, 5))
def test_e2_a_queued_request_is_never_reported_lost(
    data: st.DataObject, passed: int, ahead: int, others: int
) -> None:
    requests, work = WorkQueue(passed), WorkQueue(ahead)
    ours = requests.put()
    for _ in range(others):
        requests.put()
        work.put()
    ours_at_work: int | None = None
    check = LostRequestCheck()
    while requests.waiting or work.waiting:
        if check.is_lost(requests.state(), work.state()):
            assert ours not in requests.waiting
            assert ours_at_work not in work.waiting
        if requests.waiting and (not work.waiting or data.draw(st.booleans())):
            taken = data.draw(st.sampled_from(sorted(requests.waiting)))
            routed = work.put()  # before it leaves the requests
            ours_at_work = routed if taken == ours else ours_at_work
            requests.waiting.discard(taken)
        else:
            work.waiting.discard(data.draw(st.sampled_from(sorted(work.waiting))))
    assert check.is_lost(requests.state(), work.state()) or check.is_lost(requests.state(), work.state())


def test_e2_a_request_is_reported_lost_while_others_keep_arriving() -> None:
    requests, work = WorkQueue(0), WorkQueue(0)
    check = LostRequestCheck()
    first = work.put()
    assert not check.is_lost(requests.state(), work.state())
    work.put()
    work.waiting.discard(first)
    assert check.is_lost(requests.state(), work.state())
