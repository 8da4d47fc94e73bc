"""One supervised child process: started, watched, restarted, stopped."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec

from penstock.cli.errors import LaunchError
from penstock.cli.local.exit_report import exit_text, last_lines
from penstock.cli.local.restarts import GiveUp, RestartHistory, RestartLimits
from penstock.runtime.processes.pdeathsig import die_with_parent

__all__ = ["Child", "ReadyLineReader", "ServiceSpec"]

_OUTPUT_TIMEOUT_S: Final = 1.0
"""Longest wait for output that a dead child left in its pipe."""
_LONGEST_LINE_BYTES: Final = 64 * 1024
_INVALID_CONFIGURATION: Final = 2
"""Exit code of a service whose arguments, settings or catalogue are not valid."""


class ServiceSpec(msgspec.Struct, frozen=True):
    """A process to run: `name` names its log file, `env` is added to the current environment."""

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = {}


class ReadyLineReader:
    """Finds the ready line, a JSON object with `"event": "ready"`, in output that arrives in chunks."""

    def __init__(self) -> None:
        self._partial = b""

    def feed(self, chunk: bytes) -> dict[str, Any] | None:
        """The parsed ready line, once its newline has arrived; all other output is the child's log."""
        *lines, rest = (self._partial + chunk).split(b"\n")
        self._partial = rest if len(rest) <= _LONGEST_LINE_BYTES else b""  # too long to be a ready line
        return next((ready for line in lines if (ready := _parse_ready(line)) is not None), None)


class Child:
    """Keeps one process of `spec` running until `stop`. Used from one event loop."""

    def __init__(
        self,
        spec: ServiceSpec,
        *,
        log_dir: Path,
        report: Callable[[str], None],
        clock: Callable[[], float],
        limits: RestartLimits,
        on_ready: Callable[[], None],
    ) -> None:
        self.spec = spec
        self.log_path = log_dir / f"{spec.name}.log"
        self.pid: int | None = None
        """None while no process is running."""
        self.ready: dict[str, Any] | None = None
        """The ready line of the running process; None until it is printed."""
        self._report = report
        self._clock = clock
        self._history = RestartHistory(limits)
        self._on_ready = on_ready
        self._stopping = asyncio.Event()
        self._died = False
        """Since it was ready last, or was started first."""
        self._log_start_byte = self.log_path.stat().st_size if self.log_path.exists() else 0

    async def keep_running(self) -> None:
        """Run the process and restart it whenever it dies, until `stop`. LaunchError when it never gets ready."""
        while True:
            started_at_s = self._clock()
            self._history.record_start(started_at_s)
            how, returncode = await self._run_once()
            if self._stopping.is_set():
                return
            self._died, now_s = True, self._clock()
            invalid = returncode == _INVALID_CONFIGURATION
            decision = self._history.record_death(now_s, permanent=invalid)
            if isinstance(decision, GiveUp):
                times = "" if invalid else f", {decision.deaths} times without becoming ready"
                raise LaunchError(self.failure(f"{how}{times}"))
            self._report(
                f"{self.spec.name} {how} after {now_s - started_at_s:.1f} s; "
                f"restart {decision.number} in {decision.delay_s:g} s"
            )
            with suppress(TimeoutError):
                async with asyncio.timeout(decision.delay_s):
                    await self._stopping.wait()
                    return

    def stop(self) -> None:
        """Send SIGTERM and do not restart; `keep_running` returns when the process has ended."""
        self._stopping.set()
        self._terminate()

    def kill(self) -> None:
        """Send SIGKILL to the child's process group and do not restart."""
        self._stopping.set()
        if self.pid is not None:
            _kill_group(self.pid)

    def failure(self, what: str) -> str:
        exists = self.log_path.exists()
        tail = (
            last_lines(self.log_path, since_byte=self._log_start_byte) if exists else "    (there is no log)"
        )
        return f"{self.spec.name} {what}; the end of {self.log_path}:\n{tail}"

    async def _run_once(self) -> tuple[str, int | None]:
        """Run the process once, to the last byte of its output; returns how it ended, and its exit code."""
        try:
            with self.log_path.open("ab", buffering=0) as log:
                return await self._run_logged(log)
        except OSError as error:  # no room for the log, no file descriptor for the pipe
            return f"cannot be started ({error})", None

    async def _run_logged(self, log: BinaryIO) -> tuple[str, int | None]:
        output = _Output(log, self._became_ready)
        # asyncio's own pipe would make `wait` wait for every process that inherited it.
        read_end, write_end = os.pipe()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: output, os.fdopen(read_end, "rb", buffering=0)
        )
        transport.pause_reading()  # until the pid is known: a child is never ready without one
        try:
            process = await self._spawn(write_end, log)
        except OSError as error:
            transport.resume_reading()  # it reads the end of the pipe
            log.write(f"cannot start {self.spec.argv[0]}: {error}\n".encode())
            raise
        else:
            returncode = await self._until_exit(process, transport)
            return exit_text(returncode), returncode
        finally:
            await output.ended()
            transport.close()

    async def _spawn(self, stdout: int, log: BinaryIO) -> asyncio.subprocess.Process:
        try:
            return await asyncio.create_subprocess_exec(
                *self.spec.argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=stdout,
                stderr=log,
                env={**os.environ, **self.spec.env},
                start_new_session=True,  # Ctrl-C reaches the supervisor only, which stops the children in order
                preexec_fn=die_with_parent(),
            )
        finally:
            os.close(stdout)  # the child has its own copy; this one would keep the pipe open

    async def _until_exit(self, process: asyncio.subprocess.Process, output: asyncio.ReadTransport) -> int:
        self.pid = process.pid
        output.resume_reading()
        try:
            if self._stopping.is_set():  # `stop` was called during the spawn
                self._terminate()
            return await process.wait()
        finally:
            _kill_group(process.pid)  # its own children, and itself after a cancellation
            self.pid = self.ready = None

    def _terminate(self) -> None:
        if self.pid is not None:
            with suppress(ProcessLookupError):  # it has just ended
                os.kill(self.pid, signal.SIGTERM)

    def _became_ready(self, ready: dict[str, Any]) -> None:
        if self.pid is None:  # the line of a process that has already died
            return
        self.ready = ready
        self._history.record_ready()
        if self._died:
            self._died = False
            self._report(f"{self.spec.name} is running again")
        self._on_ready()


class _Output(asyncio.Protocol):
    """Copies a child's stdout to its log and finds the ready line."""

    def __init__(self, log: BinaryIO, on_ready: Callable[[dict[str, Any]], None]) -> None:
        self._log = log
        self._on_ready = on_ready
        self._ready_line: ReadyLineReader | None = ReadyLineReader()
        self._ended = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        if self._ready_line is not None and (ready := self._ready_line.feed(data)) is not None:
            self._ready_line = None
            self._on_ready(ready)
        with suppress(OSError):  # the disk is full: the child goes on without a log
            self._log.write(data)

    def connection_lost(self, _exc: Exception | None) -> None:
        self._ended.set()

    async def ended(self) -> None:
        """Wait for the rest of a dead child's output, with a time limit: a grandchild may keep the pipe open."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_OUTPUT_TIMEOUT_S):
                await self._ended.wait()


def _kill_group(pid: int) -> None:
    with suppress(ProcessLookupError):  # the group is empty
        os.killpg(pid, signal.SIGKILL)


def _parse_ready(line: bytes) -> dict[str, Any] | None:
    if b'"ready"' not in line:  # skip the parsing of ordinary log lines
        return None
    try:
        parsed = msgspec.json.decode(line)
    except msgspec.DecodeError:  # a log line that only contains the word
        return None
    return parsed if isinstance(parsed, dict) and parsed.get("event") == "ready" else None
