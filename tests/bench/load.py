"""Closed-loop load: a constant number of concurrent requests, each followed by the next when it ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from msgspec import Struct

__all__ = ["Figures", "percentile", "run"]


class Figures(Struct):
    latencies_ms: list[float]
    wall_s: float

    @property
    def per_s(self) -> float:
        return len(self.latencies_ms) / self.wall_s


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


async def run(ask: Callable[[], Awaitable[None]], *, at_once: int, total: int) -> Figures:
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
    await asyncio.gather(*(one_after_another() for _ in range(at_once)))
    return Figures(latencies, time.perf_counter() - began_s)
