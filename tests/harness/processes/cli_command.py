"""The `penstock` command beside a running system."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from tests.harness.processes.fork_server import fork
from tests.harness.processes.system import System

__all__ = ["CommandResult", "ForkedCommand", "run_command", "start_command"]

_TIMEOUT_S: Final = 60.0


class CommandResult(Struct):
    """Exit code, stdout (`out`) and stderr (`notes`) of a command that has ended."""

    code: int
    out: str
    notes: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def unprintable(self) -> list[str]:
        """Characters in either stream that a terminal must not get."""
        return [letter for letter in self.out + self.notes if not (letter.isprintable() or letter in "\n\t")]


class ForkedCommand:
    """A command that is forked from the fork server, with nothing to read unless `stdin` is a file descriptor."""

    def __init__(
        self,
        arguments: tuple[str, ...],
        env: Mapping[str, str],
        *,
        stdin: int | None = None,
        cwd: Path | None = None,
    ) -> None:
        self._out, self._notes = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115 - `result` closes them
        self._process = fork("penstock.cli", arguments, env, self._out, self._notes, stdin=stdin, cwd=cwd)

    @property
    def pid(self) -> int:
        return self._process.pid

    def send_signal(self, number: int) -> None:
        self._process.send_signal(number)

    def result(self) -> CommandResult:
        """Wait for the end. Raises TimeoutExpired, and ends the command, after a minute."""
        with self._out as out, self._notes as notes:
            try:
                code = self._process.wait(_TIMEOUT_S)
            finally:
                self._process.kill()
            out.seek(0)
            notes.seek(0)
            return CommandResult(code, out.read().decode(), notes.read().decode())


async def run_command(system: System, *arguments: str, stdin: int | None = None) -> CommandResult:
    """Run a command beside the system to its end."""
    command = ForkedCommand(arguments, {**os.environ, "NATS_URL": system.nats.url}, stdin=stdin)
    return await asyncio.to_thread(command.result)


async def start_command(system: System, *arguments: str) -> asyncio.subprocess.Process:
    """Start a command in an interpreter of its own."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "penstock.cli", *arguments),
        env={**os.environ, "NATS_URL": system.nats.url},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
