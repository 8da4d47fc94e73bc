"""Asks the counting process, which is started when it is first needed and stopped when it is idle."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Sequence
from typing import Final

import msgspec

from penstock.bus.clock import loop_now_s
from penstock.bus.freezes import AwakeTimeout
from penstock.bus.log_limits import rate_limited_logger
from services.worker.token_counting.messages import (
    LENGTH_BYTES,
    Counted,
    Produced,
    ToCount,
    decode_counted,
    frame,
)

__all__ = ["TokenCounter"]

_log: Final = rate_limited_logger(__name__)
_COMMAND: Final = (sys.executable, "-m", "services.worker.token_counting.process")
_TIMEOUT_S: Final = 10.0
"""For one count, with the start of the process and the loading of a vocabulary, which take one second."""
_IDLE_S: Final = 300.0
"""The process has 80 MB in memory for each vocabulary, and is stopped after this time without a question."""
_PAUSE_S: Final = 60.0
"""Seconds after a failure in which no process is started."""
_BODY_BYTES: Final = 4 * 1024 * 1024
"""Larger bodies are not counted: their estimate stays."""


class TokenCounter:
    """One question at a time; a count takes a millisecond once the vocabulary is loaded."""

    def __init__(
        self, command: Sequence[str] = _COMMAND, timeout_s: float = _TIMEOUT_S, idle_s: float = _IDLE_S
    ) -> None:
        self._command = command
        self._timeout_s = timeout_s
        self._idle_s = idle_s
        self._lock = asyncio.Lock()
        self._process: Process | None = None
        self._killed: list[Process] = []
        """Processes of which the loop may still hold something."""
        self._idle: asyncio.TimerHandle | None = None
        self._not_before_s = float("-inf")

    async def count(self, model: str, body: bytes | None, produced: Produced | None) -> Counted | None:
        """The tokens of an attempt at `model`, the provider's name for it; None: they cannot be counted now."""
        sent = None if body is None or len(body) > _BODY_BYTES else body
        async with self._lock:
            if loop_now_s() < self._not_before_s:
                return None
            try:
                async with AwakeTimeout(self._timeout_s):
                    counted = await self._ask(ToCount(model, sent, produced))
            except (OSError, EOFError, TimeoutError, msgspec.MsgspecError) as error:
                self._stop_for_a_while(repr(error))
                return None
            except asyncio.CancelledError:
                self._kill()  # a half-read answer would be taken for that of the next question
                raise
            if counted.error:
                self._stop_for_a_while(counted.error)
                return None
            return counted

    async def stop(self) -> None:
        async with self._lock:
            self._kill()
            for process in self._killed:
                await process.communicate()
            self._killed.clear()

    async def _ask(self, question: ToCount) -> Counted:
        if self._idle is not None:
            self._idle.cancel()
        process = self._process
        if process is None or process.returncode is not None:
            # In a session of its own: Ctrl-C stops the worker, which still counts while it drains.
            self._kill()
            process = self._process = await asyncio.create_subprocess_exec(
                *self._command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, start_new_session=True
            )
        assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018 - both are pipes
        process.stdin.write(frame(question))
        await process.stdin.drain()
        length = int.from_bytes(await process.stdout.readexactly(LENGTH_BYTES), "big")
        counted = decode_counted(await process.stdout.readexactly(length))
        self._stop_when_idle()
        return counted

    def _stop_for_a_while(self, reason: str) -> None:
        _log.warning(
            "the tokens of attempts without a count of the provider are estimated by their bytes, because the tokenizer"
            " cannot be used: %s",
            reason,
        )
        self._kill()
        self._not_before_s = loop_now_s() + _PAUSE_S

    def _stop_when_idle(self) -> None:
        self._idle = asyncio.get_running_loop().call_later(self._idle_s, self._kill)

    def _kill(self) -> None:
        """The process holds nothing that has to be finished."""
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        if process.returncode is None:
            process.kill()
        self._killed = [each for each in self._killed if each.returncode is None]
        self._killed.append(process)
