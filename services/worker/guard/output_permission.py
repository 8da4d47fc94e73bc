"""Whether the output of one request may be shown, and the end of the request once the guard refuses it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from penstock.bus.clock import loop_now_s
from services.worker.guard.guard_checks import Refused

__all__ = ["OutputPermission"]


class OutputPermission:
    """Unknown until the check of the input has ended; a refusal is final."""

    def __init__(self) -> None:
        self._known = asyncio.Event()
        """Set when the input check has ended, or the request is refused."""
        self._refused: Refused | None = None
        self._timer: asyncio.Timeout | None = None
        """Ends the attempt that runs."""

    @property
    def known(self) -> bool:
        return self._known.is_set()

    @property
    def granted(self) -> bool:
        """Whether the input allows output."""
        return self._known.is_set() and self._refused is None

    @property
    def refused(self) -> Refused | None:
        """Why the request ends."""
        return self._refused

    async def wait(self) -> None:
        """Wait until it is known. Raises Refused."""
        await self._known.wait()
        if self._refused is not None:
            raise self._refused

    def grant(self) -> None:
        """The input check has ended and allows output."""
        self._known.set()

    def refuse(self, refused: Refused) -> None:
        """End the request, and the attempt that runs at once."""
        if self._refused is not None:
            return
        self._refused = refused
        self._known.set()
        if self._timer is not None:
            self._timer.reschedule(loop_now_s())

    @asynccontextmanager
    async def enforced(self) -> AsyncIterator[None]:
        """Cancels what runs inside once the request is refused. Raises Refused."""
        if self._refused is not None:
            raise self._refused
        try:
            async with asyncio.timeout(None) as self._timer:
                yield
        except TimeoutError:
            if self._refused is None:
                raise
            raise self._refused from None
        finally:
            self._timer = None
