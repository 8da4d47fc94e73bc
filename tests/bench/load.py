"""Closed-loop load: a constant number of concurrent requests, each followed by the next when it ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from msgspec import Struct

__all__ = [
    "AT_ONCE",
    "LONG",
    "REQUESTS",
    "SHORT",
    "STREAMS",
    "Ask",
    "Figures",
    "latency",
    "percentile",
    "run",
    "to_queueing_at_64",
]

AT_ONCE = (1, 16, 64)
REQUESTS = {1: 400, 16: 1600, 64: 3200}
SHORT, LONG, STREAMS = 40, 440, 150

Ask = Callable[[], Awaitable[None]]


class Figures(Struct):
    latencies_ms: list[float]
    wall_s: float

    @property
    def per_s(self) -> float:
        return len(self.latencies_ms) / self.wall_s


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def latency(figures: dict[int, Figures], share: float) -> dict[str, float]:
    return {str(at): round(percentile(each.latencies_ms, share), 3) for at, each in figures.items()}


def to_queueing_at_64(figures: dict[int, Figures]) -> float:
    """The p99 at 64 over what Little's law gives with the throughput at 16: over the latency at 64 if higher
    concurrency had no extra cost.
    """
    return round(percentile(figures[64].latencies_ms, 0.99) / (64 * 1000 / figures[16].per_s), 2)


async def run(ask: Ask, *, at_once: int, total: int) -> Figures:
    left = total
    latencies: list[float] = []

    async def one_after_another() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            began_s = time.perf_counter()
            await ask()
            latencies.append((time.perf_counter() - began_s) * 1000)

    began_s = time.perf_counter()
    tasks = [asyncio.ensure_future(one_after_another()) for _ in range(at_once)]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
    return Figures(latencies, time.perf_counter() - began_s)
