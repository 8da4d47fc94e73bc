"""One running system for a whole test module: started before any event loop of a test, stopped after the last."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.harness.server_binary import require_nats_server
from tests.harness.system import System

__all__ = ["shared"]


@contextmanager
def shared(
    directory: Path, *workers: str, config: str | None = None, env: Mapping[str, str] | None = None
) -> Iterator[System]:
    """As `running`, for fixtures of a wider scope than a test's event loop."""
    require_nats_server()
    system = System(directory, config=config, env=env)
    try:
        _run(system.start(*workers))
        yield system
    finally:
        _run(system.stop())


def _run(coroutine: Coroutine[object, object, None]) -> None:
    # A given factory keeps Runner from unsetting the thread's current event loop.
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        runner.run(coroutine)
