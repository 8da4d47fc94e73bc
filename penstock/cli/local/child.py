"""One child process over all its lives: started, watched, started again, stopped."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from penstock.cli.errors import LaunchError
from penstock.cli.local.log_tail import last_lines
from penstock.cli.local.pdeathsig import die_with_parent
from penstock.cli.local.ready_line import ReadyLine
from penstock.cli.local.restarts import GiveUp, RestartHistory, RestartLimits
from penstock.cli.render.exit_status import exit_text

__all__ = ["Child", "ServiceSpec"]

_OUTPUT_TIMEOUT_S = 1.0  # for what a dead child left in its pipe


class ServiceSpec(msgspec.Struct, frozen=True):
    """A process to run: `name` stands in lines and log files, `env` is added to our own environment."""

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = {}


class Child:
    """Keeps one process of `spec` alive until `stop`; to be used from one event loop."""

    def __init__(
        self,
        spec: ServiceSpec,
        *,
        log_dir: Path,
        say: Callable[[str], None],
        clock: Callable[[], float],
        limits: RestartLimits,
        on_ready: Callable[[], None],
    ) -> None:
        self.spec = spec
        self.log_path = log_dir / f"{spec.name}.log"
        self.pid: int | None = None
        """None while no process runs."""
        self.ready: dict[str, Any] | None = None
        """The ready line of the running process; None until it came."""
        self._say = say
        self._clock = clock
        self._history = RestartHistory(limits)
        self._on_ready = on_ready
        self._stopping = asyncio.Event()

    async def keep(self) -> None:
        """Run it, and again whenever it dies, until `stop`; LaunchError when that is hopeless."""
        while True:
            started_at_s = self._clock()
            self._history.started(started_at_s)
            how = await self._run_once()
            if self._stopping.is_set():
                return
            now_s = self._clock()
            decision = self._history.died(now_s)
            if isinstance(decision, GiveUp):
                raise LaunchError(self.failure(f"{how}, {decision.deaths} times without becoming ready"))
            self._say(
                f"{self.spec.name} {how} after {now_s - started_at_s:.1f} s; "
                f"restart {decision.number} in {decision.delay_s:g} s"
            )
            with suppress(TimeoutError):
                async with asyncio.timeout(decision.delay_s):
                    await self._stopping.wait()
                    return

    def stop(self) -> None:
        """SIGTERM, and no restart; `keep` returns when the process has ended."""
        self._stopping.set()
        self._terminate()

    def kill(self) -> None:
        """SIGKILL to the child and to all it started in its process group; no restart."""
        self._stopping.set()
        if self.pid is not None:
            _kill_group(self.pid)

    def failure(self, what: str) -> str:
        tail = last_lines(self.log_path) if self.log_path.exists() else "    (there is no log)"
        return f"{self.spec.name} {what}; the end of {self.log_path}:\n{tail}"

    async def _run_once(self) -> str:
        """One life, from spawn to the last byte of output; says how it ended."""
        with self.log_path.open("ab", buffering=0) as log:
            output = _Output(log, self._became_ready)
            # A pipe of our own: asyncio's would make `wait` wait for everyone who inherited it.
            read_end, write_end = os.pipe()
            transport, _ = await asyncio.get_running_loop().connect_read_pipe(
                lambda: output, os.fdopen(read_end, "rb", buffering=0)
            )
            transport.pause_reading()  # until we know the pid: a child is never ready without one
            try:
                process = await self._spawn(write_end, log)
            except OSError as error:
                transport.resume_reading()  # to its end, which has come
                log.write(f"cannot start {self.spec.argv[0]}: {error}\n".encode())
                return f"cannot be started ({error})"
            else:
                return exit_text(await self._until_exit(process, transport))
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
                start_new_session=True,  # Ctrl-C is for the launcher, which stops the children in order
                preexec_fn=die_with_parent(),
            )
        finally:
            os.close(stdout)  # the child has its own; ours would keep the pipe from ending

    async def _until_exit(self, process: asyncio.subprocess.Process, output: asyncio.ReadTransport) -> int:
        self.pid = process.pid
        output.resume_reading()
        try:
            if self._stopping.is_set():  # `stop` came while it was being spawned
                self._terminate()
            return await process.wait()
        finally:
            _kill_group(process.pid)  # what it started itself, and itself if we were cancelled
            self.pid = self.ready = None

    def _terminate(self) -> None:
        if self.pid is not None:
            with suppress(ProcessLookupError):  # it has just ended by itself
                os.kill(self.pid, signal.SIGTERM)

    def _became_ready(self, ready: dict[str, Any]) -> None:
        if self.pid is None:  # the last words of one that is dead already
            return
        self.ready = ready
        self._history.became_ready()
        self._on_ready()


class _Output(asyncio.Protocol):
    """Copies a child's stdout to its log and looks out for the ready line."""

    def __init__(self, log: BinaryIO, on_ready: Callable[[dict[str, Any]], None]) -> None:
        self._log = log
        self._on_ready = on_ready
        self._ready_line: ReadyLine | None = ReadyLine()
        self._ended = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        if self._ready_line is not None and (ready := self._ready_line.feed(data)) is not None:
            self._ready_line = None
            self._on_ready(ready)
        self._log.write(data)

    def connection_lost(self, _exc: Exception | None) -> None:
        self._ended.set()

    async def ended(self) -> None:
        """Wait briefly for what a dead child left in the pipe: a grandchild may hold it open for ever."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_OUTPUT_TIMEOUT_S):
                await self._ended.wait()


def _kill_group(pid: int) -> None:
    with suppress(ProcessLookupError):  # nobody is left in it
        os.killpg(pid, signal.SIGKILL)
