"""`make bench`: the cost of a request through Penstock and of the bare SDK call, in one run.

The figures include all Penstock processes (client, router, worker; for the edge: edge, router, worker) with traces and
metrics enabled; nats-server and the simulator are reported separately. Ratios are more reliable than absolute figures,
because the speed of machines varies.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import psutil
import uvloop
from openai import AsyncOpenAI

from penstock.client.client import Client
from tests.bench.cpu import cpu_s, own_cpu_s, spent_ms
from tests.bench.edge import edge_figures, edge_targets
from tests.bench.embeddings import embedding_figures, embedding_targets
from tests.bench.guard import guard_figures, guard_targets
from tests.bench.guard_process import guard_process_figures, guard_process_targets
from tests.bench.guarded_latency import guarded_latency_figures, guarded_latency_targets
from tests.bench.indexing import indexing_figures, indexing_targets
from tests.bench.ledger import ledger_figures, ledger_targets
from tests.bench.load import AT_ONCE, LONG, REQUESTS, SHORT, STREAMS, latency, run, to_queueing_at_64
from tests.bench.retrieval_quality import retrieval_quality_figures, retrieval_quality_targets
from tests.bench.retrieval_store import retrieval_store_figures, retrieval_store_targets
from tests.bench.sink import otlp_sink
from tests.bench.subjects import direct_stream, direct_whole, penstock_stream, penstock_whole
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.system import System, running_system

GENEROUS = {
    "requests_per_minute": 1_000_000,
    "tokens_per_minute": 10_000_000_000,
    "requests_per_day": 1_000_000_000,
    "concurrency": 10_000,
}
"""Limits that are never reached: they show the cost of enforcement, beside `cpu_ms_per_request_untraced`."""


def _ours(spent: dict[str, float]) -> float:
    return round(spent["client"] + spent["router"] + spent["worker"], 3)


async def _through_penstock(
    directory: Path, env: dict[str, str], *, streams: bool, limits: dict[str, int] | None = None
) -> dict[str, Any]:
    config = catalogue(
        {"chat": ["m-chat"]},
        roles={"chat": {"slots_per_worker": 256}},
        models={"m-chat": {"limits": limits}} if limits else None,
    )
    async with running_system(directory, "chat", config=config, env=env, fresh=True) as system:
        client = await system.client()
        try:
            return await _penstock_figures(system, client, streams=streams)
        finally:
            await client.close()


async def _penstock_figures(system: System, client: Client, *, streams: bool) -> dict[str, Any]:
    whole = penstock_whole(client)
    await run(whole, at_once=16, total=300)
    before = cpu_s(system)
    figures = {at: await run(whole, at_once=at, total=REQUESTS[at]) for at in AT_ONCE}
    spent = spent_ms(before, cpu_s(system), sum(REQUESTS.values()))
    found: dict[str, Any] = {
        "cpu_ms_per_request": _ours(spent),
        "cpu_ms_by_process": spent,
        "p50_ms": latency(figures, 0.50),
        "p99_ms": latency(figures, 0.99),
        "requests_per_s": round(figures[64].per_s, 1),
        "p99_to_queueing_at_64": to_queueing_at_64(figures),
    }
    if streams:
        found["cpu_us_per_delta"], found["cpu_us_by_process_per_delta"] = await _per_delta(system, client)
        await system.sim("PUT", "speed", {"tokens_per_second": 100, "first_token_ms": 0, "latency_ms": 0})
        found["cpu_us_per_delta_at_100_tokens_per_s"], _ = await _per_delta(system, client, streams=64)
        await system.sim("PUT", "speed", {"tokens_per_second": 0, "first_token_ms": 0, "latency_ms": 0})
    found["rss_mb"] = {
        "client": round(psutil.Process().memory_info().rss / 1e6, 1),
        "router": round(system.router.rss_mb(), 1),
        "worker": round(system.workers[0].rss_mb(), 1),
        "simulator": round(system.simulator.rss_mb(), 1),
        "nats_server": round(psutil.Process(system.nats.pid).memory_info().rss / 1e6, 1),
    }
    return found


async def _per_delta(
    system: System, client: Client, streams: int = STREAMS
) -> tuple[float, dict[str, float]]:
    """The cost of one more token of a stream: the difference between long and short streams."""
    spent = {}
    for tokens in (SHORT, LONG):
        ask = penstock_stream(client, tokens)
        await run(ask, at_once=16, total=16)
        before = cpu_s(system)
        await run(ask, at_once=min(64, streams), total=streams)
        spent[tokens] = spent_ms(before, cpu_s(system), streams)
    more = {
        name: round((spent[LONG][name] - spent[SHORT][name]) * 1000 / (LONG - SHORT), 2)
        for name in spent[LONG]
    }
    return _ours(more), more


async def _direct(directory: Path) -> dict[str, Any]:
    async with (
        running_system(directory, "chat", fresh=True) as system,
        AsyncOpenAI(api_key="none", base_url=f"{system.simulator.ready['url']}/v1", max_retries=0) as client,
    ):
        whole = direct_whole(client)
        await run(whole, at_once=16, total=300)
        before_s = own_cpu_s()
        figures = {at: await run(whole, at_once=at, total=REQUESTS[at]) for at in AT_ONCE}
        cpu_ms = (own_cpu_s() - before_s) * 1000 / sum(REQUESTS.values())
        per_stream_s = []
        for tokens in (SHORT, LONG):
            ask = direct_stream(client, tokens)
            before_s = own_cpu_s()
            await run(ask, at_once=64, total=STREAMS)
            per_stream_s.append((own_cpu_s() - before_s) / STREAMS)
        return {
            "cpu_ms_per_request": round(cpu_ms, 3),
            "p50_ms": latency(figures, 0.50),
            "p99_ms": latency(figures, 0.99),
            "cpu_us_per_delta": round((per_stream_s[1] - per_stream_s[0]) * 1e6 / (LONG - SHORT), 2),
            "requests_per_s": round(figures[64].per_s, 1),
            "rss_mb": round(psutil.Process().memory_info().rss / 1e6, 1),
        }


async def main() -> None:
    sink, address = await otlp_sink()
    traces = {"PENSTOCK_TRACES": "otlp", "OTEL_EXPORTER_OTLP_ENDPOINT": address}
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        directories = (
            "traced",
            "untraced",
            "limited",
            "edge",
            "ledger",
            "guard",
            "guarded",
            "store",
            "retrieval",
            "indexing",
            "embeddings",
            "direct",
        )
        for each in directories:
            (root / each).mkdir()
        print("measuring Penstock, traces on ...", file=sys.stderr)
        traced = await _through_penstock(root / "traced", traces, streams=True)
        print("measuring Penstock, traces off ...", file=sys.stderr)
        untraced = await _through_penstock(root / "untraced", {"PENSTOCK_TRACES": "off"}, streams=False)
        print("measuring Penstock, traces off, limits on ...", file=sys.stderr)
        limited = await _through_penstock(
            root / "limited",
            {"PENSTOCK_TRACES": "off", "PENSTOCK_QUOTA": "shared"},
            streams=False,
            limits=GENEROUS,
        )
        print("measuring the edge and the simulator over HTTP, traces on ...", file=sys.stderr)
        edge = await edge_figures(root / "edge", traces)
        print("measuring the ledger, traces on, and its start with 1,000,000 records ...", file=sys.stderr)
        ledger = await ledger_figures(root / "ledger", traces)
        print("measuring the safety guard ...", file=sys.stderr)
        guard = {
            **await guard_figures(),
            **await guard_process_figures(root / "guard"),
            **await guarded_latency_figures(root / "guarded"),
        }
        print("measuring the store of the indexer ...", file=sys.stderr)
        store = await retrieval_store_figures(root / "store")
        print("measuring the indexing of documents ...", file=sys.stderr)
        indexing = await indexing_figures(root / "indexing")
        print("measuring the retrieval of labelled questions ...", file=sys.stderr)
        retrieval = retrieval_quality_figures(root / "retrieval")
        print("measuring embeddings, traces on ...", file=sys.stderr)
        embeddings = await embedding_figures(root / "embeddings", traces)
        print("measuring the bare SDK call ...", file=sys.stderr)
        direct = await _direct(root / "direct")
    sink.close()
    added = {
        share: {
            at: round(traced[f"{share}_ms"][at] - direct[f"{share}_ms"][at], 3) for at in direct["p50_ms"]
        }
        for share in ("p50", "p99")
    }
    report = {
        **traced,
        "added_p50_ms": added["p50"],
        "added_p99_ms": added["p99"],
        "cpu_ms_per_request_untraced": untraced["cpu_ms_per_request"],
        "cpu_ms_per_request_limited": limited["cpu_ms_per_request"],
        **edge,
        **ledger,
        **guard,
        **store,
        **indexing,
        **retrieval,
        **embeddings,
        "direct": direct,
    }
    print(json.dumps(report, indent=2), file=sys.stderr)
    for name, figure, limit in _targets(report):
        verdict = "met" if figure <= limit else "MISSED"
        print(f"{verdict:>6}  {name}: {figure:g}, at most {limit:g}", file=sys.stderr)
    print(json.dumps(report))


def _targets(report: dict[str, Any]) -> list[tuple[str, float, float]]:
    """Target figures for a machine with two cores at 2.5 GHz or more."""
    services = ("client", "router", "worker", "simulator")
    return [
        ("CPU ms per request, traces on", report["cpu_ms_per_request"], 2.0),
        ("added p50 ms at 1", report["added_p50_ms"]["1"], 3.0),
        ("p99 at 64 over what queueing explains", report["p99_to_queueing_at_64"], 4.0),
        ("CPU us per delta", report["cpu_us_per_delta"], 20.0),
        *((f"MB of the {name}", report["rss_mb"][name], 100.0) for name in services),
        *edge_targets(report),
        *embedding_targets(report),
        *ledger_targets(report),
        *guard_targets(report),
        *guard_process_targets(report),
        *guarded_latency_targets(report),
        *retrieval_store_targets(report),
        *indexing_targets(report),
        *retrieval_quality_targets(report),
    ]


if __name__ == "__main__":
    uvloop.run(main())
