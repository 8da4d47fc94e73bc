"""Times at which the loops of one process wake up together."""

from __future__ import annotations

import asyncio
import os
import random

import pytest

from penstock.bus.clock import common_tick_s


@pytest.mark.parametrize("every_s", [0.25, 1.0])
async def test_loops_wake_up_at_the_same_times(monkeypatch: pytest.MonkeyPatch, every_s: float) -> None:
    loop, dice, now_s = asyncio.get_running_loop(), random.Random(1), 0.0
    monkeypatch.setattr(loop, "time", lambda: now_s)
    for _ in range(1000):
        began_s = now_s = dice.uniform(1, 1e6)
        tick_s = now_s + common_tick_s(every_s)
        assert 0 < tick_s - began_s <= every_s + 0.011
        apart = (tick_s - os.getpid() % 1000 / 1000) / 0.25
        assert apart == pytest.approx(round(apart), abs=1e-4), (
            "a time of every other loop, of shorter ones too"
        )
        now_s = tick_s - dice.uniform(0, 0.009)
        assert now_s + common_tick_s(every_s) == pytest.approx(tick_s + every_s), (
            "a timer that is early does not end twice"
        )
    monkeypatch.undo()
