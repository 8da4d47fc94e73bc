"""Two signals, at several moments of a start and while a system runs: every process ends, what happens is said, and the
store can be used again.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from penstock.cli.local.nats_server import NatsServer
from tests.harness.nats.binary import require_nats_server
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.children import running_children
from tests.harness.processes.cli_command import ForkedCommand
from tests.harness.processes.penstock_up import UNSET, PenstockUp
from tests.harness.suite.waiting import until

INT, TERM = signal.SIGINT, signal.SIGTERM
NATS, SERVICES = 1, 3
"""Number of child processes: only nats-server, and services beside it."""
ORDERLY_S = 10.0
"""How long an orderly stop waits at least for a service that does not end."""


@pytest.mark.parametrize(
    ("command", "children", "signals"),
    [
        (("up", "--nats-port", "0"), 0, (INT, INT)),
        (("up", "--nats-port", "0"), NATS, (INT, INT)),
        (("up", "--nats-port", "0"), SERVICES, (TERM, INT)),
        (("demo",), SERVICES, (INT, TERM)),
    ],
    ids=["up", "up with nats-server", "up with services", "demo"],
)
async def test_signals_while_a_system_starts_leave_no_process_and_a_usable_store(
    command: tuple[str, ...], children: int, signals: Sequence[int], tmp_path: Path
):
    require_nats_server()
    config = tmp_path / "catalogue.yaml"
    config.write_text(catalogue())
    env = {name: value for name, value in os.environ.items() if name not in UNSET}
    if command[0] == "up":
        env["PENSTOCK_CATALOGUE"] = str(config)
    data = tmp_path / "data"
    run = ForkedCommand((*command, "--data", str(data)), env, cwd=tmp_path)

    await until(
        lambda: data.exists() and len(running_children(run.pid, recursive=True)) >= children, 60, 0.005
    )
    seen = running_children(run.pid, recursive=True)
    two_kinds = len(set(signals)) == 2  # two equal ones may arrive as one
    if two_kinds:
        await until(lambda: len(services_of(run.pid)) > 0, 60, 0.005)
        for process in [*services_of(run.pid), *servers_of(run.pid)]:
            with suppress(psutil.NoSuchProcess):
                process.suspend()  # so that the orderly stop lasts until the second signal
    began_s = time.monotonic()
    for number in signals:
        seen |= running_children(run.pid, recursive=True)
        run.send_signal(number)
    ended = await asyncio.to_thread(run.result)

    assert ended.code in {0, 130, -INT, -TERM}, ended.notes
    assert "Traceback" not in ended.notes
    if two_kinds:
        assert ended.code == 130
        assert time.monotonic() - began_s < ORDERLY_S
        assert "Killing all processes at once." in ended.out
    _, left = psutil.wait_procs(seen, timeout=5)
    assert not left
    await is_usable(data / "nats")


@pytest.mark.parametrize("number", [INT, TERM], ids=["Ctrl-C", "SIGTERM"])
async def test_d9_a_second_signal_to_a_running_system_says_that_it_kills_at_once(number: int, tmp_path: Path):
    require_nats_server()
    config = tmp_path / "catalogue.yaml"
    config.write_text(catalogue())
    up = PenstockUp(tmp_path, fresh=True, PENSTOCK_CATALOGUE=str(config))
    workers = [child for child in up.children if "services.worker" in child.cmdline()]
    servers = servers_of(up.process.pid)
    for process in [*workers, *servers]:
        process.suspend()  # so that the orderly stop takes longer than the test

    up.process.send_signal(number)
    await asyncio.to_thread(up.until_logged, "Ctrl-C again kills at once")
    began_s = time.monotonic()
    up.process.send_signal(number)

    assert await asyncio.to_thread(up.process.wait, 30) == 130
    assert time.monotonic() - began_s < ORDERLY_S
    assert "Killing all processes at once." in up.text()
    assert "Traceback" not in up.text()
    _, left = psutil.wait_procs(up.children, timeout=5)
    assert workers
    assert servers
    assert not left
    await is_usable(tmp_path / ".penstock" / "nats")


async def is_usable(store: Path) -> None:
    server = NatsServer(store)
    await server.start()
    server.kill()


def servers_of(pid: int) -> list[psutil.Process]:
    servers = []
    for child in running_children(pid, recursive=True):
        with suppress(psutil.NoSuchProcess):
            if child.name() == "nats-server":
                servers.append(child)
    return servers


def services_of(pid: int) -> set[psutil.Process]:
    """Children that run a service already: one that is suspended before it would block its parent."""
    services = set()
    for child in running_children(pid, recursive=True):
        with suppress(psutil.NoSuchProcess):
            if any(argument.startswith("services.") for argument in child.cmdline()):
                services.add(child)
    return services
