"""C3: at three times the available quota or slots, admitted requests complete, the others are rejected at once, and the
available capacity is used."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct, field

from penstock.client.client import Client
from penstock.contract.reply import Accepted, Completed, Failed
from tests.bench.load import percentile
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.system import System, running_system
from tests.harness.suite.proofs import report_figures

QUOTA_S = 120.0
"""Two of the minutes that quotas count by."""
SLOTS_S = 60.0
"""Thirty answers in each slot."""
PATIENCE_S = 15.0
REQUESTS_PER_MINUTE = 600
USERS = 40
AT_ONCE_S = 0.25

pytestmark = [pytest.mark.prove, pytest.mark.timeout(280)]


class Tally(Struct):
    sent: int = 0
    rejected_after_s: list[float] = field(default_factory=list)
    """Seconds until each rejection."""
    retry_delays_s: list[float] = field(default_factory=list)
    ends: Counter[str] = field(default_factory=Counter)
    """Ends of the accepted requests."""
    late: list[str] = field(default_factory=list)
    calls: int = 0
    """Calls that the provider accepted while requests were sent."""
    met_429: int = 0

    @property
    def accepted(self) -> int:
        return sum(self.ends.values())

    def text(self) -> str:
        kept = self.ends["completed"] / max(1, self.accepted)
        return (
            f"{self.sent} sent, {self.accepted} accepted, of which {kept:.2%} completed {dict(self.ends)}; "
            f"{len(self.rejected_after_s)} rejected, p95 within "
            f"{percentile(self.rejected_after_s or [0], 0.95) * 1000:.0f} ms, "
            f"retry delay {percentile(self.retry_delays_s or [0], 0.5):.1f} s (p50), "
            f"{max(self.retry_delays_s or [0]):.1f} s at most"
        )


async def _send(client: Client, tally: Tally, began_s: float, options: dict[str, Any]) -> None:
    sent_s = time.monotonic()
    accepted = False
    async for event in client.stream(**options):
        if isinstance(event, Accepted):
            accepted = True
        elif isinstance(event, Completed):
            tally.ends["completed"] += 1
        elif isinstance(event, Failed) and accepted:
            tally.ends[event.error.code] += 1
            tally.late.append(f"sent at {sent_s - began_s:.1f} s: {event.error.message}")
        elif isinstance(event, Failed):
            assert event.error.code == "overloaded", event
            assert event.error.retry_after_s is not None
            tally.retry_delays_s.append(event.error.retry_after_s)
            tally.rejected_after_s.append(time.monotonic() - sent_s)


async def _demand(system: System, client: Client, per_s: float, lasts_s: float) -> Tally:
    """Send requests at a constant rate for so long, then wait for the end of all of them."""
    rng = random.Random(7)
    tally = Tally()
    sent: set[asyncio.Task[None]] = set()
    began_s = time.monotonic()
    while (now_s := time.monotonic()) < began_s + lasts_s:
        for _ in range(int((now_s - began_s) * per_s) - len(sent)):
            options = {
                "prompt": f"question {len(sent)} [[tokens={rng.randint(20, 60)}]]",
                "role": "chat",
                "max_tokens": 60,
                "user": f"u{rng.randrange(USERS)}",
                "timeout_s": PATIENCE_S,
            }
            sent.add(asyncio.create_task(_send(client, tally, began_s, options)))
        await asyncio.sleep(0.02)
    counts = (await system.sim("GET", "counts"))["models"]["m-chat"]
    tally.met_429 = sum(count for status, count in counts["errors"].items() if status == "429")
    tally.calls = counts["attempts"] - tally.met_429
    await asyncio.gather(*sent)
    tally.sent = len(sent)
    return tally


async def _prove(system: System, client: Client, per_s: float, lasts_s: float) -> Tally:
    tally = await _demand(system, client, per_s, lasts_s)
    report_figures(tally.text())
    for line in tally.late[:20]:
        print("   ", line)
    return tally


def _assert_promise_is_kept(tally: Tally) -> None:
    assert tally.ends["completed"] >= 0.99 * tally.accepted
    assert percentile(tally.rejected_after_s, 0.95) < AT_ONCE_S


@pytest.mark.parametrize("algorithm", ["fixed_window", "token_bucket"])
@pytest.mark.parametrize("quota", ["shared", "local"])
async def test_c3_three_times_the_quota(tmp_path: Path, quota: str, algorithm: str) -> None:
    """Two workers. With local quotas each has half of the provider's limit, as an operator configures it.

    Each then has few slots, because a request that a worker holds without quota cannot be served by the other.
    """
    each, slots = (REQUESTS_PER_MINUTE, 32) if quota == "shared" else (REQUESTS_PER_MINUTE // 2, 8)
    config = catalogue(
        {"chat": ["m-chat"]},
        models={"m-chat": {"limits": {"requests_per_minute": each}}},
        role={"slots_per_worker": slots},
    )
    env = {"PENSTOCK_TRACES": "off", "PENSTOCK_QUOTA": quota}
    async with (
        running_system(tmp_path, "chat", "chat", config=config, env=env) as system,
        await system.client() as client,
    ):
        limit = {"requests_per_minute": REQUESTS_PER_MINUTE, "algorithm": algorithm}
        await system.sim("PUT", "limits", {"m-chat": limit})
        await system.sim("PUT", "speed", {"tokens_per_second": 200, "first_token_ms": 100, "latency_ms": 0})
        tally = await _prove(system, client, 3 * REQUESTS_PER_MINUTE / 60, QUOTA_S)
    used = tally.calls / (REQUESTS_PER_MINUTE * QUOTA_S / 60)
    report_figures(f"C3, {quota}, {algorithm}: used {used:.1%} of the limit, {tally.met_429} met a 429")
    assert used >= 0.95
    _assert_promise_is_kept(tally)


async def test_c3_three_times_the_slots(tmp_path: Path) -> None:
    """A slow provider without limits: two workers of 8 slots, two seconds for an answer."""
    config = catalogue({"chat": ["m-chat"]}, role={"slots_per_worker": 8})
    async with (
        running_system(tmp_path, "chat", "chat", config=config, env={"PENSTOCK_TRACES": "off"}) as system,
        await system.client() as client,
    ):
        await system.sim("PUT", "speed", {"tokens_per_second": 20, "first_token_ms": 0, "latency_ms": 0})
        tally = await _prove(system, client, 24.0, SLOTS_S)
    most = 2 * 8 * SLOTS_S / 2.0
    report_figures(
        f"C3, slots: {tally.calls} calls in {SLOTS_S:g} s, {tally.calls / most:.1%} of what the slots can do"
    )
    assert tally.calls >= 0.95 * most
    _assert_promise_is_kept(tally)
