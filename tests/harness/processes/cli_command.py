"""The `penstock` command beside a running system."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from typing import Any

from msgspec import Struct

from tests.harness.processes.fork_server import fork
from tests.harness.processes.system import System

__all__ = ["CommandResult", "run_command", "start_command"]


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


async def run_command(system: System, *arguments: str, stdin: int | None = None) -> CommandResult:
    """Run a command to its end, forked from the fork server."""
    env = {**os.environ, "NATS_URL": system.nats.url}
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as notes:
        process = fork("penstock.cli", arguments, env, out, notes, stdin=stdin)
        try:
            code = await asyncio.to_thread(process.wait)
        finally:
            process.kill()
        out.seek(0)
        notes.seek(0)
        return CommandResult(code, out.read().decode(), notes.read().decode())


async def start_command(system: System, *arguments: str) -> asyncio.subprocess.Process:
    """Start a command in an interpreter of its own."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "penstock.cli", *arguments),
        env={**os.environ, "NATS_URL": system.nats.url},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
