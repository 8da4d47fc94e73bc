"""The whole of Penstock on one machine: nats-server, simulator, router and workers, kept running until `stop`."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable

from penstock.bus.masking import without_userinfo
from penstock.cli.connection import open_connection
from penstock.cli.errors import CommandError, LaunchError
from penstock.cli.local.directory_lock import DirectoryLock
from penstock.cli.local.nats_server import NatsServer
from penstock.cli.local.plan import Plan
from penstock.cli.local.supervisor import Supervisor
from penstock.errors import BrokerUnreachable
from penstock.runtime.runtime_file import RuntimeFile, remove_runtime_file, write_runtime_file

__all__ = ["NATS_PORT", "System", "port_is_free"]

NATS_PORT = 4222
"""Where NATS clients look when they are told nothing."""
_START_S = 60.0
_LOOK_EVERY_S = 0.25
_BEYOND_DRAIN_S = 5.0


def port_is_free(port: int) -> bool:
    """Whether a server could listen on 127.0.0.1:`port` now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as nats-server does
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


class System:
    """Started once and stopped once, from one event loop in the main thread.

    `say` gets one plain line for whatever happens meanwhile. `nats_port` is for the embedded server; -1: any.
    """

    def __init__(self, plan: Plan, say: Callable[[str], None], *, nats_port: int) -> None:
        self.plan = plan
        self._say = say
        self._lock = DirectoryLock(plan.data, "another `penstock up` or `penstock demo`")
        self._nats = NatsServer(plan.data / "nats", port=nats_port) if plan.embedded else None
        self._supervisor: Supervisor | None = None

    @property
    def nats_url(self) -> str:
        return self.plan.settings.nats_url if self._nats is None else self._nats.url

    def take(self) -> None:
        """The data directory is ours from here on. LaunchError when somebody else uses it, or it cannot be used."""
        data = self.plan.data
        try:
            data.mkdir(parents=True, exist_ok=True)
            self._lock.take()
            for directory in (data / "nats", self.plan.log_dir):
                directory.mkdir(mode=0o700, exist_ok=True)  # prompts lie in the store
        except OSError as error:
            raise LaunchError(
                f"{data} cannot hold our data: {error.strerror or error}; name another"
            ) from error

    async def start(self) -> RuntimeFile:
        """Return when all services are ready; raise LaunchError or CommandError and leave nothing running."""
        self.take()
        try:
            if self._nats is not None:
                await self._nats.start()
            else:
                await self._must_answer()
            self._supervisor = Supervisor(
                self.plan.stages(self.nats_url),
                log_dir=self.plan.log_dir,
                say=self._say,
                clock=time.monotonic,
            )
            await self._supervisor.start(_START_S)
            places = self._places()
            write_runtime_file(self.plan.data, places)
        except BaseException:
            await self.stop()
            raise
        return places

    async def wait(self) -> None:
        """Keep it running; raise LaunchError when a service cannot be kept any more."""
        if self._supervisor is None:
            raise CommandError("the system was not started")
        tasks = [asyncio.create_task(self._supervisor.wait(), name="services")]
        if self._nats is not None:
            tasks.append(asyncio.create_task(self._keep(self._nats), name="nats-server"))
        try:
            ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                task.result()
        finally:
            for task in tasks:
                task.cancel()

    async def stop(self) -> None:
        """Workers first, nats-server last; what outlives its drain is killed, and everything if cancelled."""
        try:
            remove_runtime_file(self.plan.data)
            if self._supervisor is not None:
                await self._supervisor.stop(self.plan.settings.drain_s + _BEYOND_DRAIN_S)
        finally:
            try:
                if self._nats is not None:
                    await self._nats.stop()
            finally:
                self._lock.release()

    async def _must_answer(self) -> None:
        try:
            async with open_connection(self.plan.settings, "penstock-up"):
                pass
        except BrokerUnreachable as error:
            raise CommandError(
                f"NATS_URL is {without_userinfo(self.nats_url)} and no server answers there; start that server, "
                "or unset NATS_URL and `penstock up` starts one of its own"
            ) from error

    async def _keep(self, nats: NatsServer) -> None:
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            if nats.pid is None:
                self._say("nats-server died; starting it again on the same port and store")
                await nats.start()

    def _places(self) -> RuntimeFile:
        children = self._supervisor.children if self._supervisor is not None else {}
        ready = {name: child.ready or {} for name, child in children.items()}
        return RuntimeFile(
            nats_url=self.nats_url,
            embedded=self.plan.embedded,
            pid=os.getpid(),
            services={name: str(line["http"]) for name, line in ready.items() if "http" in line},
            simulator=self.plan.simulator_url,
            traces=None if self.plan.trace_file is None else str(self.plan.trace_file),
        )
