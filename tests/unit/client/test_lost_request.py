"""E2: a request is reported lost only when everything that was queued before it is processed. E4: the status of a job
is waited for until routers have taken what is queued.
"""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.client.lost_request import LostRequestCheck, QueueState, until_taken


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


class Requests:
    """A connection whose stream of requests has one message until `taken_s` from now."""

    def __init__(self, taken_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._taken_s = self._loop.time() + taken_s
        self.reads = 0

    def jetstream(self) -> Requests:
        return self

    async def stream_info(self, stream: str) -> SimpleNamespace:
        self.reads += 1
        assert stream == "LLM_REQUESTS"
        state = QueueState(1, 7, 7) if self._loop.time() < self._taken_s else QueueState(0, 8, 7)
        return SimpleNamespace(state=state)


@pytest.mark.parametrize(("taken_s", "within_s"), [(0.0, 0.0), (0.04, 0.05), (0.2, 0.4), (2.0, 2.5)])
async def test_e4_the_wait_ends_soon_after_the_queue_is_taken(taken_s: float, within_s: float) -> None:
    requests, loop = Requests(taken_s), asyncio.get_running_loop()
    began_s = loop.time()
    await until_taken(requests, 3.0)  # type: ignore[arg-type]
    assert taken_s <= loop.time() - began_s <= within_s + 0.01


async def test_e4_beside_a_backlog_the_wait_ends_in_time_and_reads_the_queue_a_few_times() -> None:
    requests, loop = Requests(60.0), asyncio.get_running_loop()
    began_s = loop.time()
    await until_taken(requests, 3.0)  # type: ignore[arg-type]
    assert loop.time() - began_s == pytest.approx(3.0, abs=0.01)
    assert requests.reads <= 10
