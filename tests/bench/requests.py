"""A request that does not stream, through Penstock and as the bare SDK call, in turn.

Each round measures the bare call and Penstock with traces on, without traces, and without traces but with limits, at
1, 16 and 64 requests at once. A ratio is that of one round, so that both sides are of the same minute; the report has
the median of the rounds.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import psutil
from msgspec import Struct
from openai import AsyncOpenAI

from tests.bench.busy import BARE_TIMEOUT_S, finished_rounds
from tests.bench.cpu import cpu_s, own_cpu_s, spent_ms
from tests.bench.load import Ask, latency, run, to_queueing_at_64
from tests.bench.subjects import MODEL, direct_whole, penstock_whole
from tests.bench.targets import Target, medians
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.system import System, running_system

__all__ = ["OURS", "bare_client", "request_figures", "request_targets"]

ROUNDS: Final = 3
REQUESTS: Final = {1: 150, 16: 400, 64: 800}
"""Of each subject in a round, by the number at once."""
OURS: Final = ("client", "router", "worker")
GENEROUS: Final = {
    "requests_per_minute": 1_000_000,
    "tokens_per_minute": 10_000_000_000,
    "requests_per_day": 1_000_000_000,
    "concurrency": 10_000,
}
"""Limits that are never reached: they show the cost of enforcement."""
OFF: Final = {"PENSTOCK_TRACES": "off"}


class _Subject(Struct, frozen=True):
    ask: Ask
    cpu_s: Callable[[], dict[str, float]]


def bare_client(system: System) -> AsyncOpenAI:
    """The openai SDK, connected to the simulator."""
    url = f"{system.simulator.ready['url']}/v1"
    return AsyncOpenAI(api_key="none", base_url=url, max_retries=0, timeout=BARE_TIMEOUT_S)


async def request_figures(directory: Path, traces: Mapping[str, str]) -> dict[str, Any]:
    async with AsyncExitStack() as stack:
        systems, subjects = {}, {}
        for name, env, limits in (
            ("traced", traces, None),
            ("untraced", OFF, None),
            ("limited", {**OFF, "PENSTOCK_QUOTA": "shared"}, GENEROUS),
        ):
            (directory / name).mkdir()
            systems[name] = await stack.enter_async_context(_system(directory / name, env, limits))
            subjects[name] = await _penstock(stack, systems[name])
        sdk = await stack.enter_async_context(bare_client(systems["traced"]))
        subjects["direct"] = _Subject(direct_whole(sdk), lambda: {"client": own_cpu_s()})
        for subject in subjects.values():
            await run(subject.ask, at_once=16, total=300)
        rounds = await finished_rounds(ROUNDS, lambda: _round(subjects))
        return {**_report(medians(rounds)), "rss_mb": _rss_mb(systems["traced"])}


@asynccontextmanager
async def _system(
    directory: Path, env: Mapping[str, str], limits: Mapping[str, int] | None
) -> AsyncIterator[System]:
    config = catalogue(
        {"chat": [MODEL]},
        roles={"chat": {"slots_per_worker": 256}},
        models={MODEL: {"limits": limits}} if limits else None,
    )
    async with running_system(directory, "chat", config=config, env=env, fresh=True) as system:
        yield system


async def _penstock(stack: AsyncExitStack, system: System) -> _Subject:
    client = await stack.enter_async_context(await system.client())
    return _Subject(penstock_whole(client), lambda: cpu_s(system))


async def _round(subjects: Mapping[str, _Subject]) -> dict[str, Any]:
    return _compared({name: await _measured(subject) for name, subject in subjects.items()})


async def _measured(subject: _Subject) -> dict[str, Any]:
    """One round of a subject. `cpu_ms_per_request` is that of the client, the router and the worker."""
    first = before = subject.cpu_s()
    figures, by_number = {}, {}
    for at, total in REQUESTS.items():
        figures[at] = await run(subject.ask, at_once=at, total=total)
        after = subject.cpu_s()
        by_number[str(at)] = spent_ms(before, after, total)
        before = after
    spent = spent_ms(first, before, sum(REQUESTS.values()))
    return {
        "cpu_ms_per_request": round(sum(spent.get(name, 0.0) for name in OURS), 3),
        "cpu_ms_by_process": spent,
        "cpu_ms_by_process_at": by_number,
        "p50_ms": latency(figures, 0.50),
        "p99_ms": latency(figures, 0.99),
        "requests_per_s": round(figures[64].per_s, 1),
        "p99_to_queueing_at_64": to_queueing_at_64(figures),
    }


def _compared(measured: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The figures of a round, with ratios."""
    traced, untraced, direct = measured["traced"], measured["untraced"], measured["direct"]
    cpu = "cpu_ms_per_request"
    added = {
        share: {at: traced[share][at] - direct[share][at] for at in direct[share]}
        for share in ("p50_ms", "p99_ms")
    }
    return {
        **measured,
        "added": added,
        "ratios": {
            "cpu": traced[cpu] / direct[cpu],
            "nats_server_cpu": traced["cpu_ms_by_process"]["nats_server"] / direct[cpu],
            "added_p50_at_1": added["p50_ms"]["1"] / direct["p50_ms"]["1"],
            "untraced_to_traced": untraced[cpu] / traced[cpu],
            "limited_to_unlimited": measured["limited"][cpu] / untraced[cpu],
        },
    }


def _report(found: dict[str, Any]) -> dict[str, Any]:
    return {
        **found["traced"],
        "added_p50_ms": found["added"]["p50_ms"],
        "added_p99_ms": found["added"]["p99_ms"],
        "cpu_ms_per_request_untraced": found["untraced"]["cpu_ms_per_request"],
        "cpu_ms_per_request_limited": found["limited"]["cpu_ms_per_request"],
        "ratios": found["ratios"],
        "direct": found["direct"],
    }


def _rss_mb(system: System) -> dict[str, float]:
    return {
        "router": round(system.router.rss_mb(), 1),
        "worker": round(system.workers[0].rss_mb(), 1),
        "simulator": round(system.simulator.rss_mb(), 1),
        "nats_server": round(psutil.Process(system.nats.pid).memory_info().rss / 1e6, 1),
    }


def request_targets(report: dict[str, Any]) -> list[Target]:
    ratios, by_process, mb = report["ratios"], report["cpu_ms_by_process"], report["rss_mb"]
    cpu, untraced = report["cpu_ms_per_request"], report["cpu_ms_per_request_untraced"]
    limited = report["cpu_ms_per_request_limited"]
    return [
        Target("CPU ms of client, router and worker / bare call", cpu, 0.70, ratios["cpu"]),
        Target(
            "CPU ms of nats-server / bare call", by_process["nats_server"], 0.25, ratios["nats_server_cpu"]
        ),
        Target(
            "added p50 ms at 1 / p50 of the bare call",
            report["added_p50_ms"]["1"],
            0.8,
            ratios["added_p50_at_1"],
            added=True,
        ),
        Target(
            "p99 ms at 64 / what queueing explains",
            report["p99_ms"]["64"],
            1.3,
            report["p99_to_queueing_at_64"],
        ),
        Target("CPU ms without traces / with traces", untraced, 0.75, ratios["untraced_to_traced"]),
        Target("CPU ms with shared limits / without limits", limited, 1.05, ratios["limited_to_unlimited"]),
        Target("MB of the router", mb["router"], 55.0),
        Target("MB of the worker", mb["worker"], 80.0),
    ]
