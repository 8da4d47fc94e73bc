"""Fixtures and hooks of the whole suite."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping

import pytest
from hypothesis import HealthCheck, settings

from penstock.bus.log_limits import RepeatedLogs
from penstock.cli.local.nats_server import NatsServer
from penstock.cli.local.ports import PortAllocator
from tests.harness.nats.binary import require_nats_server
from tests.harness.suite.examples import examples
from tests.harness.suite.freed_memory import FreedMemory
from tests.harness.suite.proofs import add_table, take_figures
from tests.harness.suite.virtual_time import VirtualLoop

FREED_MEMORY = FreedMemory()


def pytest_configure() -> None:
    """Make the suite's results independent of the machine's load and of the shell that started it.

    Hypothesis gets no deadline per example. SIGINT is enabled, because a shell ignores it in background jobs, and
    SIGHUP gets a handler, because `nohup` ignores it: all processes under test would inherit that.
    """
    profile = settings(
        deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=examples(100)
    )
    settings.register_profile("penstock", profile)
    settings.load_profile("penstock")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda *_: None)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Collect without garbage collections, each of which reads all tests so far: a sixth of the CPU time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


def pytest_collection_finish() -> None:
    """Exclude the collected tests and imported modules from later garbage collections, which would read them all."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[pytest.TestReport]:
    if call.when == "call":
        item.user_properties += take_figures()
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(nextitem: pytest.Item | None, item: pytest.Item) -> Iterator[None]:
    yield
    if nextitem is None or nextitem.path != item.path:
        FREED_MEMORY.file_ended()


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Unit tests run in virtual time, where a sleep takes none, except those that use sockets or threads."""
    virtual = "unit" in item.path.parts and item.get_closest_marker("real_time") is None
    return {"virtual": VirtualLoop} if virtual else {"real": asyncio.new_event_loop}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    add_table(terminalreporter)


@pytest.fixture(autouse=True)
def every_warning_is_new() -> None:
    """Let each test log warnings that an earlier test has logged."""
    for logger in logging.root.manager.loggerDict.values():
        for each in getattr(logger, "filters", ()):
            if isinstance(each, RepeatedLogs):
                each._last.clear()


@pytest.fixture(scope="session")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """A nats-server shared by the whole session: tests leave it running and use unique names on it."""
    require_nats_server()
    server = NatsServer(tmp_path_factory.mktemp("nats"))
    _run_here(server.start())
    yield server
    _run_here(server.stop())


@pytest.fixture
async def own_nats_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[NatsServer]:
    """A new nats-server for a test that restarts or kills it."""
    require_nats_server()
    server = NatsServer(tmp_path_factory.mktemp("own-nats"))
    await server.start()
    yield server
    server.kill()  # its store is no longer needed


@pytest.fixture(scope="session")
def free_port() -> Callable[[], int]:
    """Each call returns another loopback port, on which nothing listens unless the test starts it."""
    return PortAllocator().take


def _run_here(coroutine: Coroutine[object, object, None]) -> None:
    """Run a coroutine in the main thread, whose end ends the server, without changing the event loops of the tests.

    A given factory keeps Runner from setting, and then unsetting, the thread's current event loop.
    """
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        runner.run(coroutine)
