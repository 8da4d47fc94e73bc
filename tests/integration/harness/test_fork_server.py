"""A forked process is like one of its own interpreter: arguments, environment, output, signals, exit code, life."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.harness.processes.fork_server import ForkedProcess, can_fork, fork

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


def test_a_forked_process_ends_with_the_process_that_forked_it(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with subprocess.Popen([sys.executable, "-c", PARENT, log], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    psutil.wait_procs([child], timeout=20)
    assert not child.is_running()


def test_a_process_with_variables_of_python_is_not_forked() -> None:
    assert can_fork("services.router", {"NATS_URL": "nats://127.0.0.1:1"})
    assert not can_fork("services.router", {"PYTHONHASHSEED": "1"})
    assert not can_fork("tests.bench", {})
