"""C6: which index requests run, and which wait without a slot."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from itertools import count

import pytest

from penstock.contract.names import Lane
from penstock.contract.retrieval.documents import MEMORY
from penstock.contract.streams import MAX_PAYLOAD_BYTES
from services.indexer.requests.scheduler import MOST_WAITING, RequestScheduler, ScheduledRequest, Stopping
from tests.harness.requests.routed_requests import chat_work

SLOTS = 4


class Requests:
    def __init__(self, slots: int = SLOTS) -> None:
        self.scheduler = RequestScheduler(slots)
        self._entered: dict[ScheduledRequest, AsyncExitStack] = {}
        self._numbers = count()

    async def come(
        self, account: str, collection: str = "", *, lane: Lane = "batch", user: str = "", text: str = ""
    ) -> ScheduledRequest:
        """A request for a collection of its own, unless one is named."""
        work = chat_work(
            kind="index",
            role="index",
            account=account,
            collection=collection or f"c{next(self._numbers)}",
            lane=lane,
            user=user,
            body=text.encode(),
        )
        stack = AsyncExitStack()
        request = await stack.enter_async_context(self.scheduler.enter(work))
        self._entered[request] = stack
        return request

    async def end(self, request: ScheduledRequest) -> None:
        await self._entered.pop(request).aclose()

    async def end_all(self) -> None:
        for request in list(self._entered):
            await self.end(request)


@pytest.fixture
async def requests() -> AsyncIterator[Requests]:
    made = Requests()
    yield made
    await made.end_all()
    assert (made.scheduler.running, made.scheduler.waiting("batch"), made.scheduler._last_begun) == (0, 0, {})


def running(*requests: ScheduledRequest) -> list[bool]:
    return [request.begins.done() and not request.begins.cancelled() for request in requests]


async def test_c6_requests_of_one_collection_hold_one_slot(requests: Requests):
    same = [await requests.come("acme", "docs") for _ in range(10)]
    other = await requests.come("acme", "other")
    assert running(*same, other) == [True, *[False] * 9, True]
    assert (requests.scheduler.running, requests.scheduler.waiting("batch")) == (2, 9)
    await requests.end(same[0])
    assert running(*same[1:4]) == [True, False, False]
    requests.scheduler.leave_collection(same[1])
    assert running(*same[1:4]) == [True, True, False], "the first one fills another table still"


async def test_c6_each_user_has_a_memory_and_all_share_a_collection(requests: Requests):
    ann, bob = [await requests.come("acme", MEMORY, user=user) for user in ("ann", "bob")]
    assert running(ann, bob) == [True, True]
    ann, bob = [await requests.come("acme", "docs", user=user) for user in ("ann", "bob")]
    assert running(ann, bob) == [True, False]


async def test_c6_one_account_leaves_a_place_to_others(requests: Requests):
    batch = [await requests.come("acme") for _ in range(10)]
    assert sum(running(*batch)) == SLOTS - 1
    interactive = [await requests.come("acme", lane="interactive") for _ in range(10)]
    assert sum(running(*interactive)) == 1
    other = await requests.come("other")
    assert running(other) == [True]
    assert requests.scheduler.running == SLOTS + 1


async def test_c6_the_batch_lane_of_all_accounts_leaves_a_place_to_the_other_lane(requests: Requests):
    batch = [await requests.come(f"account-{number}") for number in range(10)]
    assert sum(running(*batch)) == SLOTS
    assert running(await requests.come("account-0", lane="interactive")) == [True]


async def test_c6_accounts_take_turns_and_one_gets_half_while_others_wait(requests: Requests):
    acme = [await requests.come("acme") for _ in range(20)]
    others = [await requests.come("other") for _ in range(20)]
    for _ in range(12):
        first = next(
            request for request in acme if request in requests._entered and running(request) == [True]
        )
        await requests.end(first)
        acme.remove(first)
    assert sum(running(*acme)) <= SLOTS // 2
    assert sum(running(*others)) >= SLOTS // 2


async def test_c6_of_accounts_with_as_many_the_one_that_waits_longest_is_next():
    requests = Requests(1)
    waiting = [await requests.come(account) for account in "aaabbbccc"]
    begun: list[ScheduledRequest] = []
    while waiting:
        begun += (new := [request for request in waiting if running(request) == [True]])
        waiting = [request for request in waiting if request not in new]
        await requests.end(next(request for request in begun if request in requests._entered))
    order = "".join(request.work.account for request in begun)
    assert sorted(order[:3]) == sorted(order[3:6]) == ["a", "b", "c"], order


async def test_c6_a_request_that_stops_waiting_gives_nothing_back_twice(requests: Requests):
    first, second, third = [await requests.come("acme", "docs") for _ in range(3)]
    await requests.end(second)
    assert running(first, third) == [True, False]
    await requests.end(first)
    assert running(third) == [True]


async def test_c6_waiting_messages_have_a_bounded_size():
    requests = Requests()
    assert requests.scheduler.usable_slots() == SLOTS + MOST_WAITING
    await requests.come("acme", "docs")
    for waiting in range(1, 4):
        await requests.come("acme", "docs", text="x" * MAX_PAYLOAD_BYTES)
        assert requests.scheduler.usable_slots() == SLOTS + MOST_WAITING - waiting
    await requests.end_all()
    assert requests.scheduler.usable_slots() == SLOTS + MOST_WAITING


async def test_d9_a_process_that_stops_begins_nothing(requests: Requests):
    first, waiting = [await requests.come("acme", "docs") for _ in range(2)]
    requests.scheduler.stop()
    late = await requests.come("other")
    await requests.end(first)
    for request in (waiting, late):
        with pytest.raises(Stopping):
            await asyncio.wait_for(request.begins, 1)
