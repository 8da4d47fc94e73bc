"""CPU time of the processes that a benchmark measures."""

from __future__ import annotations

import resource

import psutil

from tests.harness.processes.process import Process
from tests.harness.processes.system import System

__all__ = ["cpu_s", "own_cpu_s", "spent_ms"]


def own_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def cpu_s(system: System, edge: Process | None = None) -> dict[str, float]:
    times = psutil.Process(system.nats.pid).cpu_times()
    return {
        "client": own_cpu_s(),
        **({} if edge is None else {"edge": edge.cpu_s()}),
        "router": system.router.cpu_s(),
        "worker": sum(worker.cpu_s() for worker in system.workers),
        "nats_server": times.user + times.system,
        "simulator": system.simulator.cpu_s(),
    }


def spent_ms(before: dict[str, float], after: dict[str, float], count: int) -> dict[str, float]:
    return {name: round((after[name] - before[name]) * 1000 / count, 3) for name in before}
