"""`make bench-peers`: a request through Penstock and through other gateways, to the same simulator.

Each runs with its defaults for traces and logs, one process or one process of each service, all at the same time; each
round measures one after the other. The table goes to stderr, and the last line, on stdout, is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import aiohttp
import psutil
import uvloop
from msgspec import Struct

from tests.bench.busy import MachineTooBusy, explain_stalls, finished_rounds
from tests.bench.cpu import cpu_s, own_cpu_s
from tests.bench.load import Ask, latency, run
from tests.bench.machine import machine, machine_line
from tests.bench.peers.gateways import GATEWAYS, missing
from tests.bench.peers.plain_client import PlainClient
from tests.bench.peers.running import running_gateway
from tests.bench.peers.table import BARE, compared, peer_table
from tests.bench.requests import bare_client
from tests.bench.subjects import MODEL, direct_whole, penstock_whole
from tests.bench.targets import medians
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.process import Process
from tests.harness.processes.system import System, running_system

ROUNDS: Final = 3
REQUESTS: Final = {1: 100, 16: 300, 64: 600}
"""Of each gateway in a round, by the number at once."""


class _Subject(Struct, frozen=True):
    ask: Ask
    cpu_s: Callable[[], float]
    """Of the gateway's processes, without the client."""
    rss_mb: Callable[[], float]


async def _subjects(stack: AsyncExitStack, folder: Path, scratch: Path) -> dict[str, _Subject]:
    for name in ("penstock", *(each.name for each in GATEWAYS)):
        (scratch / name).mkdir()
    config = catalogue({"chat": [MODEL]}, roles={"chat": {"slots_per_worker": 256}})
    system = await stack.enter_async_context(
        running_system(scratch / "penstock", "chat", config=config, fresh=True)
    )
    edge = system.new_edge()
    await edge.start()
    client = await stack.enter_async_context(await system.client())
    connections = aiohttp.TCPConnector(limit=0)
    session = await stack.enter_async_context(aiohttp.ClientSession(connector=connections))
    provider = f"{system.simulator.ready['url']}/v1"
    sdk = await stack.enter_async_context(bare_client(system))
    through_edge = PlainClient(session, f"{edge.ready['url']}/v1", "chat")
    found = {
        BARE: _Subject(direct_whole(sdk), float, float),
        "plain client, no gateway": _Subject(PlainClient(session, provider, MODEL).whole, float, float),
        "Penstock, edge": _Subject(
            through_edge.whole, lambda: _penstock_cpu_s(system, edge), lambda: _penstock_mb(system, edge)
        ),
        "Penstock, NATS client": _Subject(
            penstock_whole(client), lambda: _penstock_cpu_s(system), lambda: _penstock_mb(system)
        ),
    }
    skipped = missing(folder)
    for gateway in GATEWAYS:
        if gateway.name in skipped:
            print(skipped[gateway.name], file=sys.stderr)
            continue
        peer = await stack.enter_async_context(
            running_gateway(gateway, folder, scratch / gateway.name, provider, session)
        )
        name = f"{gateway.name} {gateway.version(folder)}"
        found[name] = _Subject(peer.client.whole, peer.cpu_s, peer.rss_mb)
    return found


def _penstock_cpu_s(system: System, edge: Process | None = None) -> float:
    spent = cpu_s(system, edge)
    return sum(spent.get(name, 0.0) for name in ("edge", "router", "worker", "nats_server"))


def _penstock_mb(system: System, edge: Process | None = None) -> float:
    services = system.router.rss_mb() + system.workers[0].rss_mb() + (edge.rss_mb() if edge else 0.0)
    return services + psutil.Process(system.nats.pid).memory_info().rss / 1e6


async def _measured(subject: _Subject) -> dict[str, Any]:
    """CPU of the gateway by the number at once, and of the client over all of them, in milliseconds for a request."""
    count = sum(REQUESTS.values())
    figures, by_number = {}, {}
    own_s, first_s = own_cpu_s(), subject.cpu_s()
    before_s = first_s
    for at, total in REQUESTS.items():
        figures[at] = await run(subject.ask, at_once=at, total=total)
        after_s = subject.cpu_s()
        by_number[str(at)] = (after_s - before_s) * 1000 / total
        before_s = after_s
    return {
        "gateway_cpu_ms_at": by_number,
        "gateway_cpu_ms": (before_s - first_s) * 1000 / count,
        "client_cpu_ms": (own_cpu_s() - own_s) * 1000 / count,
        "p50_ms": latency(figures, 0.50),
        "requests_per_s": figures[64].per_s,
    }


async def _round(subjects: Mapping[str, _Subject]) -> dict[str, dict[str, Any]]:
    return compared({name: await _measured(each) for name, each in subjects.items()})


async def _measure(folder: Path) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as scratch:
        async with AsyncExitStack() as stack:
            subjects = await _subjects(stack, folder, Path(scratch))
            for subject in subjects.values():
                await run(subject.ask, at_once=16, total=200)
            found = medians(await finished_rounds(ROUNDS, lambda: _round(subjects)))
            for name, subject in subjects.items():
                found[name]["rss_mb"] = round(subject.rss_mb(), 1)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.peers")
    parser.add_argument("folder", type=Path, help="where the gateways are installed")
    folder = parser.parse_args().folder.absolute()
    before = machine()
    explain_stalls()
    try:
        found = uvloop.run(_measure(folder))
    except MachineTooBusy as error:
        raise SystemExit(str(error)) from error
    print(machine_line(before), peer_table(found), sep="\n", file=sys.stderr, flush=True)
    print(json.dumps({"machine": before, "gateways": found}))


if __name__ == "__main__":
    main()
