"""C3: requests that wait in a worker try again in the order of their arrival."""

from __future__ import annotations

import asyncio

from services.worker.intake.wait_queue import WaitQueue
from tests.unit.worker.worker_parts import ignore


async def _waits(queue: WaitQueue, arrival: int, until_s: float, order: list[int]) -> None:
    await queue.wait_until("chat", "interactive", until_s, arrival)
    order.append(arrival)


async def test_c3_waiting_requests_wake_in_the_order_of_arrival() -> None:
    queue, order = WaitQueue(ignore, ignore), list[int]()
    far_s = asyncio.get_running_loop().time() + 60
    tasks = [asyncio.create_task(_waits(queue, arrival, far_s, order)) for arrival in (5, 1, 4, 2)]
    while queue.count("chat", "interactive") < len(tasks):
        await asyncio.sleep(0)

    queue.wake()
    await asyncio.gather(*tasks)

    assert order == [1, 2, 4, 5]
    assert queue.count("chat", "interactive") == 0


async def test_c3_a_timer_of_one_request_wakes_earlier_ones_first() -> None:
    queue, order = WaitQueue(ignore, ignore), list[int]()
    now_s = asyncio.get_running_loop().time()
    late = asyncio.create_task(_waits(queue, 9, now_s + 0.02, order))
    old = asyncio.create_task(_waits(queue, 3, now_s + 60, order))

    await asyncio.gather(late, old)

    assert order == [3, 9]


async def test_listeners_learn_of_the_start_and_the_end_of_a_wait() -> None:
    calls: list[str] = []
    queue = WaitQueue(lambda: calls.append("waits"), lambda: calls.append("woken"))
    task = asyncio.create_task(
        queue.wait_until("chat", "interactive", asyncio.get_running_loop().time() + 60, 1)
    )
    while not queue.count("chat", "interactive"):
        await asyncio.sleep(0)
    queue.wake()
    await task

    assert calls == ["waits", "woken", "woken"], "the last one is the end of the wait"
