"""A guard that allows everything, as a process that a test stops or kills."""

from __future__ import annotations

import asyncio
import json
import os

from tests.harness.processes.fake_guard import FakeGuard


async def _main() -> None:
    async with FakeGuard.running(os.environ["NATS_URL"]):
        print(json.dumps({"ready": "guard"}), flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main())
