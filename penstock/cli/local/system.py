"""The whole system on one machine: nats-server, simulator, router and workers, kept running until `stop`."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from typing import Final

from msgspec.structs import replace

from penstock.bus.connection import warn_of_small_messages
from penstock.bus.masking import without_userinfo
from penstock.cli.connection import open_connection
from penstock.cli.errors import CommandError, LaunchError
from penstock.cli.local.directory_lock import DirectoryLock
from penstock.cli.local.nats_server import NatsServer
from penstock.cli.local.nats_supervision import keep_nats_running
from penstock.cli.local.plan import Plan
from penstock.cli.local.supervisor import Supervisor
from penstock.errors import BrokerRefused, BrokerUnreachable
from penstock.runtime.processes.open_files import FEW_OPEN_FILES, raise_open_files
from penstock.runtime.provisioning.ensure import JetStreamPlan, ensure_streams
from penstock.runtime.runtime_file import (
    RuntimeFile,
    remove_runtime_file,
    sampling_variables,
    write_runtime_file,
)

__all__ = ["LocalSystem"]

_START_TIMEOUT_S: Final = 60.0
_STOP_MARGIN_S: Final = 5.0
"""Seconds between the end of the drain time and SIGKILL."""


def _check_open_files(limit: int) -> None:
    if limit < FEW_OPEN_FILES:
        raise LaunchError(
            f"only {limit} files may be open (ulimit -n), and nats-server can lose its store when it needs more: "
            f"raise the limit to {FEW_OPEN_FILES} or above"
        )


class LocalSystem:
    """Started once and stopped once, from one event loop in the main thread.

    `report` gets one line for every restart. `nats_port` is the port of the embedded server; -1: any free one.
    """

    def __init__(self, plan: Plan, report: Callable[[str], None], *, nats_port: int) -> None:
        self.plan = plan
        self._report = report
        self._lock = DirectoryLock(plan.data, "another `penstock up` or `penstock demo`")
        self._nats = NatsServer(plan.data / "nats", port=nats_port) if plan.embedded else None
        self._supervisor: Supervisor | None = None

    @property
    def nats_url(self) -> str:
        return self.plan.settings.nats_url if self._nats is None else self._nats.url

    def lock(self) -> None:
        """Lock the data directory. Raises LaunchError when another process uses it, or it is not usable."""
        data = self.plan.data
        try:
            data.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
            for directory in (data / "nats", self.plan.log_dir):
                directory.mkdir(mode=0o700, exist_ok=True)  # the store contains prompts
        except OSError as error:
            raise LaunchError(
                f"{data} is not usable as data directory: {error.strerror or error}; name another with --data"
            ) from error

    async def start(self) -> RuntimeFile:
        """Return when all services are ready. On LaunchError or CommandError nothing is left running."""
        self.lock()
        try:
            _check_open_files(raise_open_files())
            if self._nats is not None:
                await self._nats.start()
            await self._create_streams()
            self._supervisor = Supervisor(
                self.plan.stages(self.nats_url),
                log_dir=self.plan.log_dir,
                report=self._report,
                clock=time.monotonic,
            )
            await self._supervisor.start(_START_TIMEOUT_S)
            runtime_file = self._runtime_file()
            write_runtime_file(self.plan.data, runtime_file)
        except BaseException:
            await self.stop()
            raise
        return runtime_file

    def pid_of(self, instance: str) -> int:
        """The process of a service, by the instance in its ready line. Raises CommandError when it is not running."""
        children = self._supervisor.children.values() if self._supervisor is not None else ()
        for child in children:
            if child.pid is not None and child.ready is not None and child.ready.get("instance") == instance:
                return child.pid
        raise CommandError(f"{instance} is not running")

    async def wait(self) -> None:
        """Keep the system running. Raises LaunchError when a service never gets ready."""
        if self._supervisor is None:
            raise CommandError("the system was not started")
        tasks = [asyncio.create_task(self._supervisor.wait(), name="services")]
        if self._nats is not None:
            kept = keep_nats_running(self._nats, self._report, time.monotonic)
            tasks.append(asyncio.create_task(kept, name="nats-server"))
        try:
            ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                task.result()
        finally:
            for task in tasks:
                task.cancel()

    def kill_nats(self) -> None:
        """Kill the embedded nats-server, for which `stop` does not wait then. Its store is usable: what it acknowledged
        is in its files, although not on the disk yet.
        """
        if self._nats is not None:
            self._nats.kill()

    async def stop(self) -> None:
        """Stop workers first and nats-server last. After the drain time, or when cancelled, services are killed. Does
        not kill nats-server at once: call `kill_nats` first for that.
        """
        try:
            remove_runtime_file(self.plan.data)
            if self._supervisor is not None:
                await self._supervisor.stop(self.plan.settings.drain_s + _STOP_MARGIN_S)
        finally:
            try:
                if self._nats is not None:
                    await self._nats.stop()
            finally:
                self._lock.release()

    async def _create_streams(self) -> None:
        """Create the streams, so that a server that is unreachable, too small or without JetStream is reported once.

        Raises CommandError, BrokerRefused and ConfigurationRefused.
        """
        settings = replace(self.plan.settings, nats_url=self.nats_url)
        streams = JetStreamPlan.of(settings, ())
        where = without_userinfo(self.nats_url)
        try:
            async with open_connection(settings, "penstock-up") as nc:
                warn_of_small_messages(nc, self.nats_url)
                await ensure_streams(nc.jetstream(), streams)
        except BrokerRefused:
            raise
        except BrokerUnreachable as error:
            raise CommandError(
                f"NATS_URL is {where} and no server answers there; start that server, "
                "or unset NATS_URL to let `penstock up` start an embedded one"
            ) from error

    def _runtime_file(self) -> RuntimeFile:
        children = self._supervisor.children if self._supervisor is not None else {}
        ready = {name: child.ready or {} for name, child in children.items()}
        return RuntimeFile(
            nats_url=self.nats_url,
            embedded=self.plan.embedded,
            pid=os.getpid(),
            services={name: str(line["http"]) for name, line in ready.items() if "http" in line},
            catalogue=self.plan.catalogue_setting,
            simulator=self.plan.simulator_url,
            encoder=self.plan.encoder_url,
            edge=ready["edge"].get("url") if "edge" in ready else None,
            edge_needs_key=ready.get("edge", {}).get("api_key") == "required",
            traces=None if self.plan.trace_file is None else str(self.plan.trace_file),
            collector=self.plan.collector,
            sampling=sampling_variables(self.plan.router.env),
        )
