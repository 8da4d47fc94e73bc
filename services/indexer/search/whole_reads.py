"""How many collections are read as a whole at once: each read and its answer take memory of several messages."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final
from weakref import WeakValueDictionary

__all__ = ["WholeReads"]

_READS: Final = 4
_READS_OF_ACCOUNT: Final = _READS // 2
"""The others of an account wait without a place, so that those of other accounts pass them."""


class WholeReads:
    def __init__(self) -> None:
        self._places = asyncio.Semaphore(_READS)
        self._of_account: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        """Of accounts with a read that waits or runs."""

    @contextlib.asynccontextmanager
    async def place(self, account: str) -> AsyncIterator[None]:
        """Wait for a place, in the order of arrival, and hold it."""
        of_account = self._of_account.get(account)
        if of_account is None:
            of_account = self._of_account[account] = asyncio.Semaphore(_READS_OF_ACCOUNT)
        async with of_account, self._places:
            yield
