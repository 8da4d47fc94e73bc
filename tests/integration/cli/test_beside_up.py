"""What is started by hand beside `penstock up` takes over its settings, or reports what to set."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from penstock.cli.local.nats_server import NatsServer
from penstock.runtime.runtime_file import RuntimeFile, read_runtime_file
from tests.harness.nats.binary import require_nats_server
from tests.harness.processes.fork_server import ForkedProcess, fork
from tests.harness.processes.penstock_up import REPOSITORY, PenstockUp

BY_MODULE = ("-P", "-m", "services.worker")
BY_COMMAND = ("-P", "-m", "penstock.cli", "run", "worker")
FORKED = ("services.worker",)
"""As BY_MODULE, without the start of an interpreter."""


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PenstockUp]:
    require_nats_server()
    started = PenstockUp(tmp_path_factory.mktemp("up"), PENSTOCK_TRACE_SAMPLE_RATIO="0")
    yield started
    if started.process.poll() is None:
        started.stop()
    for process in started.started:
        process.kill()
        process.wait()


@pytest.fixture
def runtime_file(up: PenstockUp) -> RuntimeFile:
    found = read_runtime_file(up.directory / ".penstock")
    assert found is not None
    return found


class Worker:
    def __init__(self, up: PenstockUp, how: tuple[str, ...], *arguments: str, cwd: Path, **env: str) -> None:
        self.log, self.out = cwd / "by-hand.log", cwd / "by-hand.out"
        arguments = ("--role", "chat", *arguments)
        env = up.env | {"PYTHONPATH": str(REPOSITORY)} | env
        self.process: subprocess.Popen[bytes] | ForkedProcess
        with self.log.open("wb") as stderr, self.out.open("wb") as stdout:
            if how != FORKED:
                argv = [sys.executable, *how, *arguments]
                self.process = subprocess.Popen(argv, cwd=cwd, env=env, stdout=stdout, stderr=stderr)
            else:
                self.process = fork("services.worker", arguments, env, stdout, stderr, cwd=cwd)

    def instance(self) -> str:
        """The instance in the ready line, once it is printed."""
        deadline_s = time.monotonic() + 90
        while not (line := self.out.read_text()).endswith("\n"):
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline_s, self.log.read_text()
            time.sleep(0.02)
        return str(json.loads(line)["instance"])

    def ends(self) -> tuple[int, str]:
        return self.process.wait(90), self.log.read_text()

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(90)


def ask_until_it_answers(up: PenstockUp, instance: str) -> dict[str, Any]:
    """The last event of the first request that `instance` executed; the worker of `penstock up` takes others."""
    deadline_s = time.monotonic() + 60
    while time.monotonic() < deadline_s:
        lines = up.run("ask", "hello", "--role", "chat", "--json").stdout.splitlines()
        events: list[dict[str, Any]] = [json.loads(line) for line in lines]
        if any(event.get("worker") == instance for event in events):
            return events[-1]
    raise AssertionError(f"{instance} took no request")


@pytest.mark.parametrize("how", [BY_MODULE, BY_COMMAND], ids=["python -m services.worker", "penstock run"])
def test_in_the_same_directory_a_worker_needs_no_settings(
    up: PenstockUp, runtime_file: RuntimeFile, how: tuple[str, ...]
):
    worker = Worker(up, how, cwd=up.directory)
    try:
        end = ask_until_it_answers(up, worker.instance())
        assert (end["type"], end["attempt"]) == ("completed", 1)
        found = f"NATS_URL={runtime_file.nats_url} PENSTOCK_SIMULATOR_URL={runtime_file.simulator}"
        found += f" PENSTOCK_ENCODER_URL={runtime_file.encoder} PENSTOCK_CATALOGUE=simulator\n"
        assert found in worker.log.read_text()
    finally:
        worker.stop()


def test_with_nats_url_set_a_worker_finds_the_simulator(up: PenstockUp, runtime_file: RuntimeFile):
    worker = Worker(
        up, FORKED, cwd=up.directory, NATS_URL=runtime_file.nats_url.replace("127.0.0.1", "localhost")
    )
    try:
        assert ask_until_it_answers(up, worker.instance())["type"] == "completed"
    finally:
        worker.stop()


def test_elsewhere_a_worker_finds_the_system_by_data(up: PenstockUp, tmp_path: Path):
    worker = Worker(up, BY_COMMAND, "--data", str(up.directory / ".penstock"), cwd=tmp_path)
    try:
        assert ask_until_it_answers(up, worker.instance())["type"] == "completed"
    finally:
        worker.stop()


def test_elsewhere_without_data_a_worker_ends_and_names_the_settings(
    up: PenstockUp, runtime_file: RuntimeFile, tmp_path: Path
):
    worker = Worker(up, FORKED, cwd=tmp_path, NATS_URL=runtime_file.nats_url)
    code, log = worker.ends()
    assert code == 2
    for part in (
        "no simulator answers at http://127.0.0.1:9100/v1",
        "set PENSTOCK_SIMULATOR_URL=http://HOST:PORT",
        "--data DIR",
        str(tmp_path / ".penstock"),
        "`penstock run simulator`",
    ):
        assert part in log
    assert "Traceback" not in log
    assert '"ready"' not in worker.out.read_text()


async def test_with_another_nats_server_the_simulator_is_only_named(
    up: PenstockUp, runtime_file: RuntimeFile, tmp_path: Path, own_nats_server: NatsServer
):
    data = ("--data", str(up.directory / ".penstock"))
    worker = Worker(up, FORKED, *data, cwd=tmp_path, NATS_URL=own_nats_server.url)
    code, log = await asyncio.to_thread(worker.ends)
    assert code == 2
    assert f"set PENSTOCK_SIMULATOR_URL={runtime_file.simulator} " in log


def test_a_configured_simulator_address_is_used(up: PenstockUp, runtime_file: RuntimeFile, tmp_path: Path):
    worker = Worker(
        up,
        FORKED,
        cwd=tmp_path,
        NATS_URL=runtime_file.nats_url,
        PENSTOCK_SIMULATOR_URL=str(runtime_file.simulator),
    )
    try:
        assert ask_until_it_answers(up, worker.instance())["type"] == "completed"
    finally:
        worker.stop()


def test_d10_a_worker_with_another_catalogue_is_reported(
    up: PenstockUp, runtime_file: RuntimeFile, tmp_path: Path
):
    """In the log of the worker and in `penstock status`; the worker of `penstock up` is not."""
    catalogue = tmp_path / "other.yaml"
    shipped = (REPOSITORY / "deploy/catalogues/simulator.yaml").read_text()
    catalogue.write_text(shipped.replace("[sim-chat-large, sim-chat-small]", "[sim-chat-small]"))
    assert "another catalogue" not in up.run("status").stdout
    worker = Worker(up, FORKED, cwd=up.directory, PENSTOCK_CATALOGUE=str(catalogue))
    try:
        instance = worker.instance()
        status = up.run("status").stdout
        assert f"Warning: {instance} runs with another catalogue than the router" in status
        assert "runs with another catalogue" in worker.log.read_text()
    finally:
        worker.stop()


def test_j1_a_request_of_a_command_is_not_sampled_where_the_running_system_samples_none(up: PenstockUp):
    other_terminal = {"PENSTOCK_TRACE_SAMPLE_RATIO": ""}
    assert up.run("ask", "Hello", env=other_terminal).returncode == 0

    traced = up.run("trace", "last", env=other_terminal)

    assert traced.returncode == 1
    assert "was not sampled (PENSTOCK_TRACE_SAMPLE_RATIO)" in traced.stderr


def test_a_guard_takes_the_server_and_the_catalogue_of_the_system(
    up: PenstockUp, runtime_file: RuntimeFile
) -> None:
    log, out = up.directory / "guard.log", up.directory / "guard.out"
    with log.open("wb") as stderr, out.open("wb") as stdout:
        guard = fork("penstock.cli", ("run", "guard"), up.env, stdout, stderr, cwd=up.directory)
    try:
        deadline_s = time.monotonic() + 90
        while '"ready"' not in out.read_text():
            assert guard.poll() is None, log.read_text()
            assert time.monotonic() < deadline_s, log.read_text()
            time.sleep(0.1)
    finally:
        guard.terminate()
        guard.wait(30)
    said = f"NATS_URL={runtime_file.nats_url} PENSTOCK_CATALOGUE={runtime_file.catalogue}"
    assert f"using the system that runs in .penstock: {said}" in log.read_text()
