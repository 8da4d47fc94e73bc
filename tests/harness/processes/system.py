"""The real system: nats-server, simulator, router and workers as separate processes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from penstock.cli.local.nats_server import NatsServer
from penstock.client.client import Client
from tests.harness.nats.binary import require_nats_server
from tests.harness.nats.cluster import NatsCluster
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.process import Process

__all__ = ["System", "running_system", "shared_system", "started"]


class System:
    """A running system; each process can be reached, killed and started again."""

    def __init__(
        self,
        directory: Path,
        *,
        config: str | None = None,
        env: Mapping[str, str] | None = None,
        nodes: int = 1,
        fresh: bool = False,
        nats: NatsServer | None = None,
        ledgers: int = 0,
        indexers: int = 0,
        env_of: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        """`nodes`: number of NATS servers; several form a cluster with a replica of each stream on every one.
        `nats`: a server with other settings, not started yet.

        `ledgers`: number of budget ledgers, for a catalogue with budgets. `indexers`: number of indexers, for a
        catalogue with retrieval.
        `env_of`: further variables of each process of a module.
        `fresh`: each service has an interpreter of its own and shares no memory with a fork server.
        """
        self.directory = directory
        self.catalogue = directory / "catalogue.yaml"
        self.catalogue.write_text(config or catalogue())
        one = nats or NatsServer(directory / "nats")
        self.nats = one if nodes == 1 else NatsCluster(directory / "nats", nodes)
        self.workers: list[Process] = []
        self.ledgers: list[Process] = []
        self.indexers: list[Process] = []
        self._ledgers = ledgers
        self._indexers = indexers
        self._env = {"PENSTOCK_STREAM_REPLICAS": str(nodes), **(env or {})}
        self._fresh = fresh
        self._env_of = env_of or {}
        self._processes: list[Process] = []
        """All processes ever started, including those that a test replaced."""

    async def start(self, *workers: str) -> None:
        """`workers`: the `--role` of each worker; without any, one worker serves all roles."""
        self._env["SIMULATOR_MODELS"] = ",".join(yaml.safe_load(self.catalogue.read_text())["models"])
        self.simulator = self._process("services.simulator", "--port", "0")
        await (
            self.nats.start()
        )  # alone: the first process that is forked blocks the loop while a fork server starts
        await self.simulator.start()
        self._env |= {
            "NATS_URL": self.nats.url,
            "PENSTOCK_CATALOGUE": str(self.catalogue),
            "PENSTOCK_SIMULATOR_URL": self.simulator.ready["url"],
            "PENSTOCK_INDEX_LOCATION": str(self.directory / "index"),
            "PENSTOCK_ACK_WAIT_S": self._env.get("PENSTOCK_ACK_WAIT_S", "2"),
        }
        self.router = self.new_router()
        await self.router.start()  # alone, because it provisions the streams
        starting = []
        for _ in range(self._ledgers):
            self.ledgers.append(self.new_ledger())
            starting.append(self.ledgers[-1].start())
        for role in workers or ("all",):
            self.workers.append(self.new_worker(role))
            starting.append(self.workers[-1].start())
        for _ in range(self._indexers):
            self.indexers.append(self.new_indexer())
            starting.append(self.indexers[-1].start())
        await asyncio.gather(*starting)

    async def stop(self) -> None:
        """Kill all processes; their state is no longer needed."""
        for process in self._processes:
            process.kill()
        self.nats.kill()

    def new_worker(self, role: str = "all", **env: str) -> Process:
        return self._process("services.worker", "--role", role, **env)

    def new_router(self, **env: str) -> Process:
        return self._process("services.router", **env)

    def new_ledger(self) -> Process:
        return self._process("services.ledger")

    def new_indexer(self, **env: str) -> Process:
        return self._process("services.indexer", **env)

    def new_guard(self, **env: str) -> Process:
        return self._process("services.guard", **env)

    def new_edge(self, **env: str) -> Process:
        """Its ready line has the public address as `url`."""
        return self._process("services.edge", **{"PENSTOCK_EDGE_PORT": "0", **env})

    async def client(self, **options: Any) -> Client:
        return await Client.connect(self.nats.url, **options)

    async def sim(self, method: str, path: str, body: object = None) -> Any:
        """Call a control route of the simulator, under /sim."""
        url = f"{self.simulator.ready['url']}/sim/{path}"
        async with aiohttp.ClientSession() as session, session.request(method, url, json=body) as answer:
            assert answer.status < 300, await answer.text()
            return await answer.json() if answer.content_type == "application/json" else None

    async def hold_answers(self, after_tokens: int = 3, *, attempt: int | None = None) -> None:
        """Let every answer of the simulator wait after so many tokens, until `release_answers` or a reset.

        `attempt`: only answers to attempts of this number.
        """
        suffix = "" if attempt is None else f".{attempt}"
        await self.sim("PUT", "hold", {"after_tokens": after_tokens, "label_suffix": suffix})

    async def release_answers(self) -> None:
        await self.sim("PUT", "hold", {})

    async def metrics(self, worker: Process | None = None) -> str:
        """The Prometheus metrics of a worker; None: the first one."""
        url = f"{(worker or self.workers[0]).ready['http']}/metrics"
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.text()

    async def attempts(self, model: str | None = None) -> int:
        """Number of calls that the simulator received."""
        counts = await self.sim("GET", "counts")
        if model is None:
            return int(counts["total_attempts"])
        return int(counts["models"].get(model, {}).get("attempts", 0))

    async def embedded_texts(self) -> int:
        """Number of texts that the simulator embedded, each as often as it was sent."""
        counts = await self.sim("GET", "counts")
        return sum(int(model["texts"]) for model in counts["models"].values())

    def _process(self, module: str, *arguments: str, **env: str) -> Process:
        log = self.directory / f"{module.rpartition('.')[2]}-{len(self._processes) + 1}.log"
        env = {**self._env, **self._env_of.get(module, {}), **env}
        process = Process(module, *arguments, env=env, log=log, fresh=self._fresh)
        self._processes.append(process)
        return process


def started(process: Process) -> Process:
    """Start a process of a shared system, in a fixture without an event loop."""
    _run(process.start())
    return process


@asynccontextmanager
async def running_system(
    directory: Path,
    *workers: str,
    config: str | None = None,
    env: Mapping[str, str] | None = None,
    nodes: int = 1,
    fresh: bool = False,
    ledgers: int = 0,
    indexers: int = 0,
) -> AsyncIterator[System]:
    system = System(
        directory, config=config, env=env, nodes=nodes, fresh=fresh, ledgers=ledgers, indexers=indexers
    )
    try:
        await system.start(*workers)
        yield system
    finally:
        await system.stop()


@contextmanager
def shared_system(
    directory: Path,
    *workers: str,
    config: str | None = None,
    env: Mapping[str, str] | None = None,
    fresh: bool = False,
    nats: NatsServer | None = None,
    ledgers: int = 0,
    indexers: int = 0,
    env_of: Mapping[str, Mapping[str, str]] | None = None,
) -> Iterator[System]:
    """Like `running_system`, for fixtures that outlive the event loop of a test."""
    require_nats_server()
    system = System(
        directory,
        config=config,
        env=env,
        fresh=fresh,
        nats=nats,
        ledgers=ledgers,
        indexers=indexers,
        env_of=env_of,
    )
    try:
        _run(system.start(*workers))
        yield system
    finally:
        _run(system.stop())


def _run(coroutine: Coroutine[object, object, None]) -> None:
    # A given factory keeps Runner from unsetting the thread's current event loop.
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        runner.run(coroutine)
