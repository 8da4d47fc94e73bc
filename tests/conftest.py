"""A real nats-server for every test that wants one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator

import pytest

from services.launcher.free_port import free_port as a_free_port
from services.launcher.nats_server import NatsServer
from tests.harness.server_binary import require_nats_server


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
    await server.stop()


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
