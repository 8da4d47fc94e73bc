"""An application as a process of its own, which has its own clock and can be stopped by signals.

`python -m tests.harness.processes.client_process URL` reads a line `<number> <seconds>` from stdin, sends so many
requests at once with that timeout, and prints how each of them ended, their texts, and how long all took, as JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from penstock.client.client import Client
from penstock.contract.reply import Failed
from penstock.errors import PenstockError
from tests.harness.requests.replies import text_of

__all__ = ["ClientProcess", "client_process", "prompt_of"]


def prompt_of(number: int) -> str:
    return f"Request {number} [[tokens={5 + 100 * (number % 3 == 0)}]]"


class ClientProcess:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        return self._process.pid

    async def ask(self, number: int, timeout_s: float) -> Mapping[str, Any]:
        """Send so many at once, every second one streamed. `ends`: how they ended, `texts`: what was received of each,
        `took_s`: until the last of them.
        """
        assert self._process.stdin is not None
        self._process.stdin.write(f"{number} {timeout_s}\n".encode())
        return json.loads(await self.line())

    async def line(self) -> bytes:
        assert self._process.stdout is not None
        return await self._process.stdout.readline()


@asynccontextmanager
async def client_process(url: str, env: Mapping[str, str] | None = None) -> AsyncIterator[ClientProcess]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.harness.processes.client_process", url),
        env={**os.environ, **(env or {})},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=2**24,
    )
    opened = ClientProcess(process)
    try:
        assert await opened.line() == b"connected\n"
        yield opened
    finally:
        process.kill()
        await process.wait()


async def _end_of(client: Client, number: int, timeout_s: float) -> tuple[str, str]:
    """How a request ended, and the text of its answer."""
    prompt = prompt_of(number)
    try:
        if number % 2:
            return "completed", (await client.chat(prompt, role="chat", timeout_s=timeout_s)).text
        events = [event async for event in client.stream(prompt, role="chat", timeout_s=timeout_s)]
    except PenstockError as error:
        return f"{type(error).__name__} {error.code}", ""
    end = events[-1]
    return end.error.code if isinstance(end, Failed) else "completed", text_of(events)


async def _run(url: str) -> None:
    async with await Client.connect(url, account="shop") as client:
        print("connected", flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            number, timeout_s = line.split()
            began_s = time.monotonic()
            ended = await asyncio.gather(
                *(_end_of(client, each, float(timeout_s)) for each in range(int(number)))
            )
            found = {
                "ends": Counter(end for end, _ in ended),
                "texts": [text for _, text in ended],
                "took_s": round(time.monotonic() - began_s, 2),
            }
            print(json.dumps(found), flush=True)


if __name__ == "__main__":
    asyncio.run(_run(sys.argv[1]))
