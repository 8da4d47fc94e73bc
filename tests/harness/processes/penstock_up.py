"""`penstock up` as a real process, and the other commands beside it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import psutil

from penstock.runtime.runtime_file import read_runtime_file
from tests.harness.processes.cli_command import ForkedCommand
from tests.harness.processes.fork_server import ForkedProcess, fork
from tests.harness.processes.forked_services import fork_with_services

__all__ = ["REPOSITORY", "UNSET", "PenstockUp"]

REPOSITORY = Path(__file__).resolve().parents[3]
UNSET = (
    "NATS_URL",
    "GROQ_API_KEY",
    "OPENAI_API_KEY",
    "PENSTOCK_CATALOGUE",
    "PENSTOCK_SIMULATOR_URL",
    "PENSTOCK_TRACES",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
)


class PenstockUp:
    """A running `penstock up`, and the other commands beside it.

    All processes are forked. `fresh` starts `up`, its services and what `start` starts in separate interpreters, for
    tests of the start.
    """

    def __init__(self, directory: Path, *, fresh: bool = False, **env: str) -> None:
        self.directory = directory
        self.env = {name: value for name, value in os.environ.items() if name not in UNSET}
        self.env |= {"PYTHONPATH": str(REPOSITORY), "PYTHONWARNINGS": "error"}
        self.env |= {"SIMULATOR_TOKENS_PER_SECOND": "0", **env}  # no test here needs slow streams
        self._fresh = fresh
        self.started: list[subprocess.Popen[bytes] | ForkedProcess] = []
        self.output = directory / "up.log"
        self.process = self.start("up", "--nats-port", "0", output=self.output)
        self._until(lambda: "Penstock is up" in self.text(), 90)
        self.children = psutil.Process(self.process.pid).children(recursive=True)

    def text(self) -> str:
        return self.output.read_text()

    def start(self, *arguments: str, output: Path) -> subprocess.Popen[bytes] | ForkedProcess:
        with output.open("wb") as log:
            process = self._started(arguments, log)
        self.started.append(process)
        return process

    def _started(self, arguments: tuple[str, ...], log: IO[bytes]) -> subprocess.Popen[bytes] | ForkedProcess:
        if self._fresh:
            argv = [sys.executable, "-P", "-m", "penstock.cli", *arguments]
            return subprocess.Popen(argv, cwd=self.directory, env=self.env, stdout=log, stderr=log)
        if arguments[0] == "up":
            whole = ("-m", "penstock.cli", *arguments)
            return fork_with_services(whole, self.env, log, log, cwd=self.directory)
        return fork("penstock.cli", arguments, self.env, log, log, cwd=self.directory)

    def run(
        self, *arguments: str, text: str | None = None, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, forked from the fork server."""
        with tempfile.TemporaryFile() as stdin:
            stdin.write((text or "").encode())
            stdin.seek(0)
            command = ForkedCommand(
                arguments, self.env | (env or {}), stdin=stdin.fileno(), cwd=self.directory
            )
            done = command.result()
        return subprocess.CompletedProcess(arguments, done.code, done.out, done.notes)

    def _until(self, condition: Callable[[], object], timeout_s: float) -> None:
        deadline_s = time.monotonic() + timeout_s
        while not condition():
            assert self.process.poll() is None, self.text()
            assert time.monotonic() < deadline_s, self.text()
            time.sleep(0.02)

    def simulator(self, method: str, control: str, body: object = None) -> Any:
        runtime_file = read_runtime_file(self.directory / ".penstock")
        assert runtime_file is not None
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{runtime_file.simulator}/sim/{control}", data, method=method)  # noqa: S310
        with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310 - our own simulator
            return json.loads(answer.read() or b"null")

    def until_logged(self, text: str, timeout_s: float = 60.0) -> None:
        self._until(lambda: text in self.text(), timeout_s)

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(90)
