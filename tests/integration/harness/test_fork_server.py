"""A forked process is like one of its own interpreter: arguments, environment, output, signals, exit code, life."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.harness.processes.children import is_running
from tests.harness.processes.fork_server import ForkedProcess, can_fork, fork
from tests.harness.processes.forked_services import fork_with_services
from tests.harness.suite.waiting import until

PARENT = """
import sys, time
from pathlib import Path
from tests.harness.processes.fork_server import fork
with open(sys.argv[1], "wb") as out:
    process = fork("services.simulator", ("--port", "0"), {}, out, out)
print(process.pid, flush=True)
time.sleep(60)
"""


@contextmanager
def forked(log: Path, *arguments: str, **env: str) -> Iterator[ForkedProcess]:
    with log.open("wb") as out:
        process = fork("services.simulator", arguments, env, out, out)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_each_process_has_arguments_environment_and_output_of_its_own(tmp_path: Path) -> None:
    with (
        forked(tmp_path / "one", "--no-such-option") as one,
        forked(tmp_path / "two", "--port", "0", SIMULATOR_TOKENS_PER_SECOND="many") as two,
    ):
        assert (one.wait(20), two.wait(20)) == (2, 2)
        assert (one.poll(), two.poll()) == (2, 2)
    assert "--no-such-option" in (tmp_path / "one").read_text()
    assert "SIMULATOR_TOKENS_PER_SECOND" in (tmp_path / "two").read_text()


def test_a_process_is_ended_by_signals_and_reports_which(tmp_path: Path) -> None:
    with forked(tmp_path / "one", "--port", "0") as one:
        assert one.poll() is None
        one.kill()
        assert one.wait(20) == -signal.SIGKILL
        one.kill()  # a signal to a process that has ended is ignored


async def test_a_forked_process_ends_with_the_process_that_forked_it(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with subprocess.Popen([sys.executable, "-c", PARENT, log], stdout=subprocess.PIPE) as parent:  # noqa: ASYNC220 - it returns at once
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert is_running(child)
        parent.kill()
    await until(lambda: not is_running(child))


def test_a_process_with_variables_of_python_is_not_forked() -> None:
    assert can_fork("services.router", {"NATS_URL": "nats://127.0.0.1:1"})
    assert not can_fork("services.router", {"PYTHONHASHSEED": "1"})
    assert not can_fork("tests.bench", {})


COMMAND = """
import asyncio, os, sys
from penstock.runtime.processes.pdeathsig import die_with_parent

async def main(log_path, *arguments):
    with open(log_path, "wb") as log:
        started = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", "services.simulator", *arguments, stdin=asyncio.subprocess.DEVNULL,
            stdout=log.fileno(), stderr=log, env={**os.environ}, start_new_session=True, preexec_fn=die_with_parent(),
        )
    print(started.pid, os.getsid(started.pid), flush=True)
    sys.exit(await started.wait())

try:
    asyncio.run(main(*sys.argv[1:]))
finally:
    print("ended", flush=True)
"""


def test_a_service_of_a_forked_command_reports_its_output_and_exit_code(tmp_path: Path) -> None:
    log, out = tmp_path / "service", tmp_path / "command"
    with out.open("wb") as stdout:
        arguments = ("-c", COMMAND, str(log), "--no-such-option")
        command = fork_with_services(arguments, {}, stdout, stdout, cwd=tmp_path)
    assert command.wait(20) == 2, out.read_text()
    assert "--no-such-option" in log.read_text()
    pid, session, *rest = out.read_text().split()
    assert pid == session != str(command.pid)
    assert rest == ["ended"]


def test_a_service_with_an_option_that_is_not_known_ends_alone(tmp_path: Path) -> None:
    """Its process is a copy of the command, which must not go on in it."""
    out = tmp_path / "command"
    program = COMMAND.replace("start_new_session=True", "start_new_session=True, umask=0")
    with out.open("wb") as stdout:
        arguments = ("-c", program, str(tmp_path / "service"), "--port", "0")
        command = fork_with_services(arguments, {}, stdout, stdout, cwd=tmp_path)
    assert command.wait(20) == 1
    assert "umask" in out.read_text()
    assert out.read_text().splitlines().count("ended") == 1


async def test_a_service_of_a_forked_command_is_its_child_and_ends_with_it(tmp_path: Path) -> None:
    log, out = tmp_path / "service", tmp_path / "command"
    with out.open("wb") as stdout:
        command = fork_with_services(
            ("-c", COMMAND, str(log), "--port", "0"), {}, stdout, stdout, cwd=tmp_path
        )
    await until(lambda: log.exists() and '"ready"' in log.read_text())
    (service,) = psutil.Process(command.pid).children()
    command.kill()
    assert command.wait(20) == -signal.SIGKILL
    await until(lambda: not is_running(service.pid))
