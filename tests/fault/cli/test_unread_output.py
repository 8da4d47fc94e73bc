"""Output that nobody reads: `penstock up` goes on, and every other command ends without a word."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from penstock.runtime.runtime_file import read_runtime_file
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.children import running_children
from tests.harness.processes.fork_server import fork
from tests.harness.processes.penstock_up import UNSET
from tests.harness.processes.system import System, shared_system
from tests.harness.processes.unread_pipe import FullPipe, closed_pipe

SIGPIPE_CODE = 141


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with shared_system(tmp_path_factory.mktemp("system")) as running:
        yield running


def until(condition: Callable[[], object], timeout_s: float = 60.0) -> None:
    give_up_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < give_up_s
        time.sleep(0.02)


def run_unread(system: System, *arguments: str, notes: Path, both: bool = False) -> int:
    """Run a command with a stdout that nobody reads; `both`: nor its stderr."""
    with os.fdopen(closed_pipe(), "wb") as unread, notes.open("wb") as stderr:
        env = {**os.environ, "NATS_URL": system.nats.url}
        return fork("penstock.cli", arguments, env, unread, unread if both else stderr).wait(60)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["status"],
        ["status", "--json"],
        ["jobs"],
        ["jobs", "--json"],
        ["dead", "list"],
        ["keys", "list"],
        ["ask", "Hello?"],
        ["ask", "Hello?", "--json"],
        ["ask", "Hello?", "--lane", "batch", "--detach"],
        ["explain", "Hello?"],
        ["config", "print"],
    ],
    ids=" ".join,
)
def test_a_command_whose_reader_has_ended_ends_without_a_word(
    system: System, arguments: list[str], tmp_path: Path
):
    notes = tmp_path / "notes"
    assert run_unread(system, *arguments, notes=notes) == SIGPIPE_CODE
    assert "rror" not in notes.read_text(), notes.read_text()
    assert "Traceback" not in notes.read_text()


def test_an_error_that_nobody_reads_is_no_traceback(system: System, tmp_path: Path):
    assert run_unread(system, "trace", "nothing", notes=tmp_path / "notes", both=True) == SIGPIPE_CODE


def test_output_to_a_full_disk_is_one_line(system: System, tmp_path: Path):
    notes = tmp_path / "notes"
    with Path("/dev/full").open("wb") as full, notes.open("wb") as stderr:
        env = {**os.environ, "NATS_URL": system.nats.url}
        assert fork("penstock.cli", ("status",), env, full, stderr).wait(60) == 1
    assert notes.read_text() == "penstock: [Errno 28] No space left on device\n"


def test_up_runs_on_while_its_output_is_not_read_and_after_its_reader_has_ended(tmp_path: Path):
    config = tmp_path / "catalogue.yaml"
    config.write_text(catalogue())
    env = {name: value for name, value in os.environ.items() if name not in UNSET}
    env["PENSTOCK_CATALOGUE"] = str(config)
    pipe = FullPipe(tmp_path / "output")
    data = tmp_path / "data"
    with pipe.path.open("wb", buffering=0) as output:
        arguments = ("up", "--nats-port", "0", "--data", str(data))
        up = fork("penstock.cli", arguments, env, output, output, cwd=tmp_path)
    try:
        until(lambda: read_runtime_file(data))
        replace_worker(up.pid)
        pipe.close()
        replace_worker(up.pid)
        children = psutil.Process(up.pid).children(recursive=True)
        up.terminate()
        assert up.wait(60) == 0
        assert not [child for child in children if child.is_running()]
    finally:
        up.kill()
        up.wait()


def replace_worker(up: int) -> None:
    """Kill the worker and wait for the next one."""
    (worker,) = workers_of(up)
    worker.kill()
    until(lambda: [found for found in workers_of(up) if found.pid != worker.pid])


def workers_of(up: int) -> list[psutil.Process]:
    found = []
    for child in running_children(up):
        with suppress(psutil.NoSuchProcess):  # it has just ended
            if "services.worker" in child.cmdline():
                found.append(child)
    return found
