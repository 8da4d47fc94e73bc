"""The process of the guard: its memory with all detectors in the process, and the time of a check of one prompt."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Final

from penstock.bus.connection import ConnectionEvents, close, connect
from penstock.bus.ids import new_id
from penstock.cli.local.nats_server import NatsServer
from penstock.contract.guard.checks import CheckedText, GuardCheck
from penstock.runtime.guard.client import GuardClient
from tests.bench.targets import Target
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.process import Process

__all__ = ["guard_process_figures", "guard_process_targets"]

_PROMPTS: Final = 200
_LARGE: Final = 8
_LARGE_CHARACTERS: Final = 1_000_000
_WORDS: Final = "Please tell me more about the history of this town and of its river. "


async def guard_process_figures(directory: Path) -> dict[str, Any]:
    """`guard_rss_mb`: after prompts and texts of the largest size. `guard_check_ms`: of a new prompt of 400 characters,
    over NATS, the median.
    """
    config = directory / "catalogue.yaml"
    config.write_text(catalogue(guard={}))
    nats = NatsServer(directory / "nats")
    await nats.start()
    env = {
        "NATS_URL": nats.url,
        "PENSTOCK_CATALOGUE": str(config),
        "PENSTOCK_SIMULATOR_URL": "http://127.0.0.1:1",
    }
    process = Process("services.guard", env=env, log=directory / "guard.log", fresh=True)
    events = ConnectionEvents(nats.url)
    try:
        await process.start(60)
        nc = await connect(nats.url, name="bench", events=events)
        client = GuardClient(nc)
        await client.start()
        times_s = sorted(
            [await _check_s(client, f"{number} {_WORDS * 6}"[:400]) for number in range(_PROMPTS)]
        )
        large = _WORDS * (_LARGE_CHARACTERS // len(_WORDS))
        for number in range(_LARGE):
            await _check_s(client, f"{number} {large}")
        figures = {
            "guard_check_ms": round(times_s[_PROMPTS // 2] * 1000, 3),
            "guard_rss_mb": round(process.rss_mb(), 1),
        }
        events.closing = True
        await close(nc)
    finally:
        process.kill()
        nats.kill()
    return figures


def guard_process_targets(report: dict[str, Any]) -> list[Target]:
    return [Target("MB of the guard", report["guard_rss_mb"], 300.0)]


async def _check_s(client: GuardClient, text: str) -> float:
    began_s = time.perf_counter()
    await client.check(GuardCheck(id=new_id(), account="bench", texts=(CheckedText(text=text),)), 30)
    return time.perf_counter() - began_s
