"""A real nats-server for every test that wants one."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator

import pytest
from hypothesis import HealthCheck, settings

from penstock.bus.log_limits import RepeatedLogs
from penstock.cli.local.nats_server import NatsServer
from penstock.cli.local.ports import free_port as a_free_port
from tests.harness.nats_binary import require_nats_server


def pytest_configure() -> None:
    """The suite says the same on a busy machine as on an idle one, and in the background of a shell.

    How long an example takes is no promise of ours. A shell has what it starts in its background ignore SIGINT, and so
    would all processes under test.
    """
    patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.register_profile("patient", patient)
    settings.load_profile("patient")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def every_warning_is_new() -> None:
    """A warning that the test before logged a moment ago is logged again."""
    for logger in logging.root.manager.loggerDict.values():
        for each in getattr(logger, "filters", ()):
            if isinstance(each, RepeatedLogs):
                each.forget()


@pytest.fixture(scope="session")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """One server for the whole session, shared: leave it running, and use names of your own on it."""
    require_nats_server()
    server = NatsServer(tmp_path_factory.mktemp("nats"))
    _run_here(server.start())
    yield server
    _run_here(server.stop())


@pytest.fixture
async def own_nats_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[NatsServer]:
    """A fresh server, for the test that restarts or kills it."""
    require_nats_server()
    server = NatsServer(tmp_path_factory.mktemp("own-nats"))
    await server.start()
    yield server
    server.kill()  # there is nothing to be kept


@pytest.fixture(scope="session")
def free_port() -> Callable[[], int]:
    """Each call returns a loopback port that is free."""
    return a_free_port


def _run_here(coroutine: Coroutine[object, object, None]) -> None:
    """Run to the end in the main thread, with which the server would die, leaving the tests' loops alone.

    A given factory keeps Runner from setting, and then unsetting, the thread's current event loop.
    """
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        runner.run(coroutine)
