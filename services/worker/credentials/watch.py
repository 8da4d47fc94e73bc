"""Reads the key files periodically and checks the age of the keys (A6)."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable
from typing import Final

from penstock.bus.clock import Clock
from penstock.runtime.aio import CriticalLoop, run_in_daemon_thread
from penstock.runtime.config.settings import Settings
from services.worker.credentials.changes import CredentialChanges
from services.worker.credentials.keyring import Keyring, read_files

__all__ = ["KeyFileWatch"]

_SETTLE_S: Final = 0.25
"""Seconds between two readings that must agree before a new key is accepted."""


class KeyFileWatch:
    """Reads the files every `secrets_poll_s`, and at once on SIGHUP if there is a secrets directory."""

    def __init__(
        self,
        keyring: Keyring,
        settings: Settings,
        changes: CredentialChanges,
        clock: Clock,
        wake: Callable[[], None],
    ) -> None:
        """`wake` is called when a key was replaced, because waiting requests may be able to use it."""
        self._keyring = keyring
        self._directory = settings.secrets_dir
        self._every_s = settings.secrets_poll_s
        self._changes = changes
        self._clock = clock
        self._wake = wake
        self._now = asyncio.Event()
        self._running = CriticalLoop("keys")

    def start(self) -> None:
        self._changes.report_initial(self._clock.unix_s())
        if self._directory is not None:
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._now.set)
        self._running.start(self._loop())

    async def stop(self) -> None:
        await self._running.stop()

    async def _loop(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_SETTLE_S if self._keyring.awaits_confirmation else self._every_s):
                    await self._now.wait()
            self._now.clear()
            # In a daemon thread: the directory may be on a file server that does not respond, and the process exit must
            # not wait for it.
            readings = await run_in_daemon_thread(lambda: read_files(self._keyring.names, self._directory))
            for change in self._keyring.update(readings):
                self._changes.apply(change)
                self._wake()
            self._changes.report_ages(self._clock.unix_s())
