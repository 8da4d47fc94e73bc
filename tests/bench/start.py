"""The start of the processes, with traces: CPU until a process is ready, and its memory then."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from tests.bench.subjects import MODEL
from tests.bench.targets import Target, medians
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.process import Process
from tests.harness.processes.system import System, running_system

__all__ = ["start_figures", "start_targets"]

ROUNDS: Final = 3
MOST_CPU_S: Final = 0.7
MOST_MB: Final = {"client": 45.0, "router": 55.0, "worker": 80.0, "ledger": 55.0, "edge": 55.0}
COMPILED: Final = {"PYTHONDONTWRITEBYTECODE": ""}
"""The modules are compiled once, as in an image and by `penstock up`; the first processes do that."""
CLIENT: Final = """
import asyncio, json, resource, sys
from penstock import Client

async def main() -> None:
    async with await Client.connect(sys.argv[1]):
        used = resource.getrusage(resource.RUSAGE_SELF)
        pages = int(open("/proc/self/statm").read().split()[1])
        found = {"cpu_s": used.ru_utime + used.ru_stime, "mb": pages * resource.getpagesize() / 1e6}
        print(json.dumps(found))

asyncio.run(main())
"""
"""A process of its own: the one that measures has the openai SDK and the benchmark in its memory."""


async def start_figures(directory: Path, traces: Mapping[str, str]) -> dict[str, Any]:
    """`start_cpu_s`: from the spawn to the ready line. `start_rss_mb`: at the ready line."""
    config = catalogue({"chat": [MODEL]}, budgets={"every_account": {"microusd_per_month": 2**50}})
    env = {**traces, **COMPILED}
    async with running_system(directory, "chat", config=config, env=env, fresh=True, ledgers=1) as system:
        started: dict[str, Callable[[], Process]] = {
            "router": system.new_router,
            "worker": lambda: system.new_worker("chat"),
            "ledger": system.new_ledger,
            "edge": system.new_edge,
        }
        await _ended(system.new_edge())
        rounds = []
        for _ in range(ROUNDS):
            found = {name: await _ended(make()) for name, make in started.items()}
            rounds.append({"client": await _client(system), **found})
    by_process = medians(rounds)
    return {
        "start_cpu_s": {name: round(found["cpu_s"], 2) for name, found in by_process.items()},
        "start_rss_mb": {name: round(found["mb"], 1) for name, found in by_process.items()},
    }


async def _ended(process: Process) -> dict[str, float]:
    """Start the process, and end it."""
    await process.start()
    found = {"cpu_s": process.cpu_s(), "mb": process.rss_mb()}
    process.kill()
    return found


async def _client(system: System) -> dict[str, float]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CLIENT, system.nats.url, env={**os.environ, **COMPILED}, stdout=PIPE
    )
    out, _ = await process.communicate()
    found: dict[str, float] = json.loads(out)
    return found


def start_targets(report: dict[str, Any]) -> list[Target]:
    cpu_s, mb = report["start_cpu_s"], report["start_rss_mb"]
    return [
        *(Target(f"start of the {name}: CPU s", cpu_s[name], MOST_CPU_S) for name in MOST_MB),
        *(Target(f"MB of the {name} when ready", mb[name], limit) for name, limit in MOST_MB.items()),
    ]
