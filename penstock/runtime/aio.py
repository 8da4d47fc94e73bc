"""Asyncio building blocks: certain cancellation, blocking calls in a daemon thread, loops a process depends on."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import threading
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final, TypeVar

__all__ = ["CriticalLoop", "cancel_and_wait", "loop_has_died", "run_in_daemon_thread"]

_log: Final = logging.getLogger(__name__)
_CANCEL_AGAIN_S: Final = 1.0

_Result = TypeVar("_Result")


async def cancel_and_wait(*tasks: asyncio.Task[Any]) -> None:
    """Cancel the tasks, again each second until they have ended.

    One cancellation is not enough: up to Python 3.11 `asyncio.wait_for`, which nats-py uses, loses a cancellation that
    arrives together with its result (python/cpython#86296), and the loop around it would run for ever.
    """
    left: Iterable[asyncio.Task[Any]] = tasks
    while left := {task for task in left if not task.done()}:
        for task in left:
            task.cancel()
        await asyncio.wait(left, timeout=_CANCEL_AGAIN_S)
    await asyncio.gather(*tasks, return_exceptions=True)


async def run_in_daemon_thread(call: Callable[[], _Result]) -> _Result:
    """Run an uninterruptible blocking call in a daemon thread, so that process exit never waits for it.

    `asyncio.to_thread` is no replacement: its threads are joined at exit, so a hanging network share would hold up the
    process.
    """
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[_Result] = loop.create_future()

    def settle(result: _Result | None, error: BaseException | None) -> None:
        if outcome.done():  # the caller was cancelled
            return
        if error is not None:
            outcome.set_exception(error)
        else:
            outcome.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result, error = None, None
        try:
            result = call()
        except Exception as raised:  # noqa: BLE001 - raised again in the awaiting task
            error = raised
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=run, name="blocking call", daemon=True).start()
    return await outcome


_died = threading.Event()


def loop_has_died() -> bool:
    """Whether a `CriticalLoop` of this process ended by itself and stopped the process, which is a failure."""
    return _died.is_set()


def _stop_process() -> None:
    """Stop as an operator would, so that running work is drained first."""
    _died.set()
    signal.raise_signal(signal.SIGTERM)


class CriticalLoop:
    """A task that runs until stopped; if it ends by itself the process stops, and its supervisor restarts it."""

    def __init__(self, name: str, on_death: Callable[[], None] = _stop_process) -> None:
        self._name = name
        self._on_death = on_death
        self._task: asyncio.Task[None] | None = None

    def start(self, loop: Coroutine[Any, Any, None]) -> None:
        self._task = asyncio.create_task(loop, name=self._name)
        self._task.add_done_callback(self._ended)

    async def stop(self) -> None:
        """Return when the loop has ended; at once if it was never started."""
        if self._task is not None:
            await cancel_and_wait(self._task)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            error = task.exception()
            _log.critical("the loop %r ended unexpectedly; stopping", self._name, exc_info=error)
            if isinstance(error, MemoryError):
                context = {"message": f"the loop {self._name!r} has no memory", "exception": error}
                task.get_loop().call_exception_handler(context)
            self._on_death()
