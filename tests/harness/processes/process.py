"""A service process under test, which receives real signals."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import psutil

from penstock.runtime.processes.pdeathsig import die_with_parent
from tests.harness.processes.fork_server import ForkedProcess, can_fork, fork

__all__ = ["Process"]


class Process:
    """`python -m <module>`, ready when it prints its ready line.

    The fork server starts it, which saves the imports. `fresh` starts a separate interpreter, for tests that measure
    memory or CPU time.
    """

    def __init__(
        self, module: str, *arguments: str, env: Mapping[str, str], log: Path, fresh: bool = False
    ) -> None:
        self._module, self._arguments = module, arguments
        self._fresh = fresh
        self._env = {**os.environ, **env}
        self.log = log
        self.prefix: tuple[str, ...] = ()
        """A command that starts the interpreter in its own place, such as `prlimit` with its options."""
        self.ready: dict[str, Any] = {}
        self._popen: subprocess.Popen[bytes] | ForkedProcess | None = None

    @property
    def pid(self) -> int:
        assert self._popen is not None
        return self._popen.pid

    @property
    def alive(self) -> bool:
        return self._popen is not None and self._popen.poll() is None

    async def start(self, timeout_s: float = 90.0) -> None:
        """Wait for the ready line; a process that ends without one fails at once."""
        out = self.log.with_suffix(".out")
        with out.open("wb") as stdout, self.log.open("ab") as stderr:
            self._popen = self._started(stdout, stderr)
        give_up_s = time.monotonic() + timeout_s
        while time.monotonic() < give_up_s:
            for line in out.read_text().splitlines(keepends=True):
                if line.endswith("\n") and '"ready"' in line:
                    self.ready = json.loads(line)
                    return
            if self._popen.poll() is not None:
                break
            await asyncio.sleep(0.02)
        self.kill()
        raise AssertionError(f"{self._module} did not become ready:\n{self.log.read_text()[-3000:]}")

    def _started(self, stdout: IO[bytes], stderr: IO[bytes]) -> subprocess.Popen[bytes] | ForkedProcess:
        if not self._fresh and not self.prefix and can_fork(self._module, self._env):
            return fork(self._module, self._arguments, self._env, stdout, stderr)
        return subprocess.Popen(
            [*self.prefix, sys.executable, "-m", self._module, *self._arguments],
            env=self._env,
            stdout=stdout,
            stderr=stderr,
            preexec_fn=die_with_parent(),  # noqa: PLW1509 - allocates nothing, see there
        )

    def signal(self, number: int) -> None:
        assert self._popen is not None
        self._popen.send_signal(number)

    def kill(self) -> None:
        """Send SIGKILL and wait for the end."""
        if self._popen is not None and self.alive:
            self._popen.kill()
        if self._popen is not None:
            self._popen.wait()

    async def terminate(self, timeout_s: float = 90.0) -> int:
        """Send SIGTERM; returns the exit code."""
        assert self._popen is not None
        if self._popen.poll() is None:
            self._popen.send_signal(signal.SIGTERM)
        return await self.ended(timeout_s)

    async def ended(self, timeout_s: float = 90.0) -> int:
        """Wait for the end; returns the exit code."""
        assert self._popen is not None
        give_up_s = time.monotonic() + timeout_s
        while self._popen.poll() is None:
            if time.monotonic() > give_up_s:
                self.kill()
                raise AssertionError(f"{self._module} did not stop within {timeout_s} s")
            await asyncio.sleep(0.02)
        return self._popen.returncode

    def cpu_s(self) -> float:
        times = psutil.Process(self.pid).cpu_times()
        return times.user + times.system

    def rss_mb(self) -> float:
        return psutil.Process(self.pid).memory_info().rss / 1e6
