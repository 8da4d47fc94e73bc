"""The `penstock` command as a person runs it, beside a running system."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

from msgspec import Struct

from tests.harness.system import System

__all__ = ["CommandResult", "run_command", "start_command"]


class CommandResult(Struct):
    """How a command ended."""

    code: int
    out: str
    notes: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def unprintable(self) -> list[str]:
        """What no terminal should get, of both streams."""
        return [letter for letter in self.out + self.notes if not (letter.isprintable() or letter in "\n\t")]


async def run_command(
    system: System, *arguments: str, stdin: int = asyncio.subprocess.DEVNULL
) -> CommandResult:
    process = await start_command(system, *arguments, stdin=stdin)
    out, notes = await process.communicate()
    assert process.returncode is not None
    return CommandResult(process.returncode, out.decode(), notes.decode())


async def start_command(
    system: System, *arguments: str, stdin: int = asyncio.subprocess.DEVNULL
) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "penstock.cli",
        *arguments,
        env={**os.environ, "NATS_URL": system.nats.url},
        stdin=stdin,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
