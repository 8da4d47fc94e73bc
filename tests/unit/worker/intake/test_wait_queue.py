"""C3: who waits in a worker's hands looks again in turn."""

from __future__ import annotations

import asyncio

from services.worker.intake.wait_queue import WaitQueue


async def _waits(waiting: WaitQueue, turn: int, until_s: float, order: list[int]) -> None:
    await waiting.until("chat", "interactive", until_s, turn)
    order.append(turn)


async def test_c3_whoever_was_in_hand_first_looks_first_whenever_it_began_to_wait() -> None:
    waiting, order = WaitQueue(), list[int]()
    far_s = asyncio.get_running_loop().time() + 60
    tasks = [asyncio.create_task(_waits(waiting, turn, far_s, order)) for turn in (5, 1, 4, 2)]
    while waiting.number("chat", "interactive") < len(tasks):
        await asyncio.sleep(0)

    waiting.wake()
    await asyncio.gather(*tasks)

    assert order == [1, 2, 4, 5]
    assert waiting.number("chat", "interactive") == 0


async def test_c3_a_moment_that_comes_for_one_lets_the_older_ones_look_first() -> None:
    waiting, order = WaitQueue(), list[int]()
    now_s = asyncio.get_running_loop().time()
    late = asyncio.create_task(_waits(waiting, 9, now_s + 0.02, order))
    old = asyncio.create_task(_waits(waiting, 3, now_s + 60, order))

    await asyncio.gather(late, old)

    assert order == [3, 9]


async def test_those_who_listen_hear_who_begins_to_wait_and_who_waits_no_longer() -> None:
    waiting, heard = WaitQueue(), list[str]()
    waiting.on_wait(lambda: heard.append("waits"))
    waiting.on_wake(lambda: heard.append("woken"))
    task = asyncio.create_task(
        waiting.until("chat", "interactive", asyncio.get_running_loop().time() + 60, 1)
    )
    while not waiting.number("chat", "interactive"):
        await asyncio.sleep(0)
    waiting.wake()
    await task

    assert heard == ["waits", "woken", "woken"], "and that one waits no longer"
