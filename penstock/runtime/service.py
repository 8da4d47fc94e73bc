"""The shell of every service: FastStream's lifecycle, `/health` and `/metrics`, signals, ordered drain."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Final, Protocol

import uvicorn
import uvloop
from faststream.asgi import AsgiFastStream, AsgiResponse, get
from faststream.nats import NatsBroker
from msgspec import Struct
from nats.aio.client import Client as Nats
from nats.js import JetStreamContext
from prometheus_client import CollectorRegistry, ProcessCollector, make_asgi_app

from penstock.bus import nats_patches
from penstock.bus.auth import NatsAuth
from penstock.bus.clock import ServerTime
from penstock.bus.connection import (
    ConnectionEvents,
    discard_and_close,
    flush_failure,
    options,
    warn_of_small_messages,
)
from penstock.bus.freezes import watch_freezes
from penstock.bus.ids import instance_name
from penstock.bus.server_address import servers_of
from penstock.contract.streams import StreamSpec
from penstock.runtime.aio import loop_has_died, run_in_daemon_thread
from penstock.runtime.config.problems import ConfigurationRefused
from penstock.runtime.config.settings import Settings
from penstock.runtime.epochs import DeliveryEpochs
from penstock.runtime.processes.memory import return_large_blocks_when_freed
from penstock.runtime.processes.open_files import FEW_OPEN_FILES, raise_open_files
from penstock.runtime.processes.out_of_memory import end_when_out_of_memory
from penstock.runtime.processes.ready_line import print_ready_line
from penstock.runtime.processes.stop_signals import stop_signal_numbers
from penstock.runtime.provisioning.write_probe import WriteProbe
from penstock.runtime.server_time_reader import ServerTimeReader, offset_gauge
from penstock.runtime.serving.listening import bound_socket, url_of
from penstock.runtime.serving.server import Server
from penstock.runtime.telemetry.kept_traces import KeptTraces
from penstock.runtime.telemetry.logs import LogMetrics, configure
from penstock.runtime.telemetry.setup import make_tracer
from penstock.runtime.telemetry.spans import SpanRecorder
from penstock.runtime.telemetry.tail_metrics import register_tail_metrics

__all__ = ["Broker", "Bus", "Component", "Shell"]

_log: Final = logging.getLogger(__name__)
_BROKER_STOP_S: Final = 5.0
_SWITCH_S: Final = 0.0005
_YOUNG_OBJECTS: Final = 5_000
"""Allocations between two runs of the youngest garbage collection. With 64 requests in flight the default of 700
examines the same live objects repeatedly, which took a twelfth of a worker's time. A run over 5,000 takes 2 to 3 ms."""


class Bus(Struct, frozen=True):
    """The NATS connection that the parts of a service share."""

    nc: Nats
    js: JetStreamContext
    connection_events: ConnectionEvents
    epochs: DeliveryEpochs


class Component(Protocol):
    """A service, as the shell starts and stops it."""

    async def start(self, bus: Bus, http: str) -> None:
        """Start, after NATS is connected. `http`: base address of this process's `/health` and `/metrics`."""
        ...

    async def drain(self) -> None:
        """Accept no new work, and finish or return the work in flight."""
        ...


class Broker(NatsBroker):
    """FastStream's broker; connects again after the server rejected its credentials, and stops within seconds, and
    without a traceback, when the NATS server does not answer.
    """

    def __init__(self, servers: list[str], auth: NatsAuth, **options: Any) -> None:
        super().__init__(servers, **options)
        nats_patches.allow_web_sockets(servers)
        # FastStream's own `security` takes one kind of credentials at a time and no user with a client certificate.
        self._connection_kwargs |= auth.options()
        # FastStream wraps the callback in one that raises a rejection, which ends nats-py's reconnection for good.
        self._connection_kwargs["error_cb"] = options["error_cb"]

    async def stop(
        self,
        exc_type: type[BaseException] | None = None,
        exc_val: BaseException | None = None,
        exc_tb: TracebackType | None = None,
    ) -> None:
        """Close without draining if the server does not answer: nats-py's drain waits for it twice, 10 s each."""
        nc = self._connection
        why = None if nc is None else await flush_failure(nc)
        if nc is None or why is None:
            await super().stop(exc_type, exc_val, exc_tb)
            return
        _log.warning("NATS does not answer (%s); unsent messages are dropped", why)
        self._connection = None  # the base class would drain it
        try:
            await super().stop(exc_type, exc_val, exc_tb)
        finally:
            await discard_and_close(nc)


class Shell:
    """One process: its name, its connection, its registry of metrics, its tracer."""

    def __init__(self, service: str, settings: Settings) -> None:
        self.service = service
        self.settings = settings
        self.instance = instance_name(service, settings.instance)
        self.registry = CollectorRegistry()
        configure(service, self.instance, settings.log_level, LogMetrics(self.registry))
        open_files = raise_open_files()
        if open_files < FEW_OPEN_FILES:
            _log.warning(
                "this process may open only %d files (ulimit -n), and every connection is one: raise the limit to %d",
                open_files,
                FEW_OPEN_FILES,
            )
        self.connection_events = ConnectionEvents(settings.nats_url)
        self.broker = Broker(
            servers_of(settings.nats_url),
            settings.nats_auth,
            **options(self.instance, self.connection_events),
            graceful_timeout=_BROKER_STOP_S,
            logger=None,
        )
        ProcessCollector(registry=self.registry)
        self.server_time = ServerTime()
        """By which times are compared with those of other processes."""
        offset_gauge(self.registry).set_function(lambda: self.server_time.offset_s)
        self.tracer = make_tracer(settings, service=f"penstock-{service}", instance=self.instance)
        self.announced: dict[str, str] = {}
        """Further fields of the ready line, which a component sets while it starts."""
        self._time_reader: ServerTimeReader | None = None
        self._kept_traces: KeptTraces | None = None
        self._ready = False
        self._checks: list[Callable[[], bool]] = []

    def healthy_while(self, check: Callable[[], bool]) -> None:
        """Make `/health` return 503 also while `check` returns False."""
        self._checks.append(check)

    @asynccontextmanager
    async def writing(
        self, bus: Bus, *streams: StreamSpec, busy: Sequence[StreamSpec] = ()
    ) -> AsyncIterator[WriteProbe]:
        """Probe whether these streams can be written (`WriteProbe`), and make `/health` return 503 where not."""
        probe = WriteProbe(bus.js, streams, busy)
        self.healthy_while(lambda: not probe.not_writable)
        probe.start(bus.connection_events)
        try:
            yield probe
        finally:
            await probe.stop()

    def run(
        self,
        component: Component,
        *,
        before_connection: Callable[[], Awaitable[None]] | None = None,
        check: Callable[[], None] | None = None,
    ) -> int:
        """Serve until SIGTERM, SIGINT or SIGHUP (a closed terminal); returns the process's exit code.

        `before_connection` is called before NATS is connected, for which the process waits as long as it takes.
        `check` is called once NATS is connected, before `component` starts; if it raises ConfigurationRefused, the
        process exits with code 2, as with any other mistake in the configuration.
        """
        # The thread that exports spans releases the interpreter ten times sooner than by default.
        sys.setswitchinterval(_SWITCH_S)
        return_large_blocks_when_freed()
        return uvloop.run(self._serve(component, before_connection, check))

    async def _serve(
        self,
        component: Component,
        before_connection: Callable[[], Awaitable[None]] | None,
        check: Callable[[], None] | None,
    ) -> int:
        end_when_out_of_memory(asyncio.get_running_loop(), self._out_of_memory_line())
        listener = self._listener()
        if listener is None:
            return 1
        http = url_of(listener)
        failure: list[Exception] = []

        async def begin() -> None:
            try:
                bus = await self._connected_bus()
                if check is not None:
                    await run_in_daemon_thread(check)
                await component.start(bus, http)
            except Exception as error:
                if server.should_exit:
                    _log.info("%s was stopped while it started: %r", self.service, error)
                    return
                # The ASGI lifespan reports its start before the broker's, so uvicorn would not notice the failure.
                unexpected = not isinstance(error, ConfigurationRefused)
                _log.error("%s could not start: %s", self.service, error, exc_info=unexpected)
                failure.append(error)
                server.stop()
                return
            self._become_ready(http)

        async def end() -> None:
            try:
                await self._end(component)
            except Exception as error:  # FastStream would not notice it
                _log.exception("%s could not stop in order", self.service)
                failure.append(error)

        app = AsgiFastStream(
            self.broker,
            asgi_routes=[("/health", self._health()), ("/metrics", make_asgi_app(self.registry))],
            on_startup=[] if before_connection is None else [before_connection],
            after_startup=[begin],
            on_shutdown=[end],
            logger=None,
        )
        server = Server(
            uvicorn.Config(app, log_config=None, access_log=False, lifespan="on", ws="none", loop="none")
        )
        loop = asyncio.get_running_loop()
        for number in stop_signal_numbers():
            loop.add_signal_handler(number, server.stop)
        await server.serve(sockets=[listener])
        await asyncio.to_thread(self.tracer.close)
        return _exit_code(failure)

    async def _end(self, component: Component) -> None:
        self._ready = False
        try:
            await component.drain()
        finally:
            if self._time_reader is not None:
                await self._time_reader.stop()
            if self._kept_traces is not None:
                await self._kept_traces.stop()
            self.connection_events.closing = True

    def _out_of_memory_line(self) -> str:
        message = (
            "this process has no memory left, and ends to be started again: raise its limit (ulimit -v, prlimit --as, "
            "or that of its container)"
        )
        names = {"level": "critical", "service": self.service, "instance": self.instance, "message": message}
        return json.dumps(names)

    def _listener(self) -> socket.socket | None:
        """The socket for `/health` and `/metrics`; None, and a log line, where it cannot be bound."""
        host, port = self.settings.http_host, self.settings.http_port
        try:
            return bound_socket(host, port)
        except OSError as error:
            advice = "set PENSTOCK_HTTP_HOST or PENSTOCK_HTTP_PORT"
            _log.error(
                "%s cannot listen on %s, port %d: %s; %s", self.service, host, port, error.strerror, advice
            )
            return None

    async def _connected_bus(self) -> Bus:
        nc = self.broker.connection
        warn_of_small_messages(nc, self.settings.nats_url)
        bus = Bus(nc, nc.jetstream(), self.connection_events, DeliveryEpochs(nc))
        await bus.epochs.watch()
        self._time_reader = ServerTimeReader(nc, self.connection_events, self.server_time)
        await self._time_reader.start()
        if isinstance(self.tracer, SpanRecorder) and self.tracer.tail is not None:
            register_tail_metrics(self.registry, self.tracer.tail)
            self._kept_traces = KeptTraces(nc, self.tracer.tail)
            await self._kept_traces.start()
        return bus

    def _become_ready(self, http: str) -> None:
        # Objects that live as long as the process are excluded from collections, which took 50 ms and more.
        gc.collect()
        gc.freeze()
        gc.set_threshold(_YOUNG_OBJECTS)
        watch_freezes(lambda: True)  # from now on: the start itself blocks the loop for a while
        self._ready = True
        print_ready_line({"service": self.service, "instance": self.instance, "http": http, **self.announced})

    def _health(self) -> Any:
        """204 while the service has started, the broker is connected and all checks return True, else 503."""

        @get
        async def health(scope: Any) -> AsgiResponse:  # noqa: ARG001 - FastStream passes it
            connected = self._ready and self.broker.connection.is_connected  # no connection before `_ready`
            alive = connected and all(check() for check in self._checks)
            return AsgiResponse(b"", status_code=204 if alive else 503)

        return health


def _exit_code(failures: Sequence[Exception]) -> int:
    if any(isinstance(failure, ConfigurationRefused) for failure in failures):
        return 2
    return 1 if failures or loop_has_died() else 0
