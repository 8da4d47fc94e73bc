"""Room for the record of one more job: an account has half of it at most, and ended jobs make way for new ones.

So nobody alone shuts out the others: who floods the lane forgets its own jobs sooner, and is refused when half of all
records are jobs of its own that wait or run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import msgspec
import nats.errors
from msgspec import Struct
from nats.aio.client import Client as Nats
from nats.aio.msg import Msg

from penstock.bus.clock import Clock
from penstock.bus.direct_get import read_page, sequence_of
from penstock.bus.job_store import Change, JobStore, Standing
from penstock.bus.log_limits import rate_limited_logger
from penstock.bus.publish import StreamFull
from penstock.contract import codec, subjects
from penstock.contract.jobs import Job
from penstock.contract.streams import JOBS
from penstock.contract.subjects import ReplyAddress
from penstock.runtime.jobs.retention import Forgettable, may_be_forgotten, to_forget

__all__ = ["BoundedJobStore"]

_log: Final = rate_limited_logger(__name__)
_TRIES: Final = 20
_UNCOUNTED: Final = 100
"""So many are written for an account before its records are counted again; other routers write meanwhile."""
_LOOK_AGAIN_S: Final = 10.0
"""Where little could be forgotten, the records are not read again sooner: that costs a second for 50,000 that wait."""
_MOST_ACCOUNTS: Final = 10_000
_PAGE: Final = 1000
_TIMEOUT_S: Final = 5.0
_AT_ONCE: Final = 50
_NO_SUCH_MESSAGE: Final = frozenset({10043, 10057})
"""JetStream error codes of a deletion: there is no such message any more."""


class _Error(Struct):
    err_code: int = 0
    description: str = ""


class _Deleted(Struct):
    error: _Error | None = None


_deleted: Final = msgspec.json.Decoder(_Deleted)


class _NotCounted(Exception):
    """It is not known whether the account may have one more."""


class _Part:
    """Of the stream: one account's records, or all."""

    def __init__(self, subject: str, most: int) -> None:
        self.subject = subject
        self.most = most
        self.left = 0
        """So many can be written without counting."""
        self.closed_until_s = float("-inf")
        self.one_at_a_time = asyncio.Lock()

    def take(self) -> None:
        if self.left <= 0:
            raise _NotCounted
        self.left -= 1


class BoundedJobStore(JobStore):
    """The records, for whoever may write new ones."""

    def __init__(self, nc: Nats, clock: Clock, most: int = JOBS.max_messages) -> None:
        """`most`: the stream's bound in number."""
        super().__init__(nc.jetstream())
        self._nc = nc
        self._clock = clock
        self._of_account = most // 2
        self._forgotten_at_once = max(1, most // 100)
        self._all = _Part(subjects.JOB_ALL, most)
        self._accounts: dict[str, _Part] = {}

    async def advance(self, address: ReplyAddress, change: Change) -> Standing:
        """Raises StreamFull when a new job finds no room, and none can be made for it."""
        part = self._part(address.account)

        def bounded(stored: Job | None) -> Job | None:
            if stored is None:
                part.take()
            return change(stored)

        for _ in range(_TRIES):
            try:
                return await super().advance(address, bounded)
            except _NotCounted:
                await self._make_room(part)
            except StreamFull:
                self._all.left = 0
                await self._make_room(self._all)
        raise StreamFull("others take the room for the records of jobs faster than it is made")

    def _part(self, account: str) -> _Part:
        if account not in self._accounts and len(self._accounts) >= _MOST_ACCOUNTS:
            self._accounts.clear()
        subject = subjects.jobs_of(account)
        return self._accounts.setdefault(account, _Part(subject, self._of_account))

    async def _make_room(self, part: _Part) -> None:
        """Raises StreamFull where nothing may be forgotten."""
        async with part.one_at_a_time:
            if part.left > 0:
                return
            now_s = self._clock.monotonic_s()
            if now_s >= part.closed_until_s:
                part.left = await self._room_of(part, now_s)
            if part.left <= 0:
                raise StreamFull(f"{part.most:,} jobs ({part.subject}) wait, run or have just ended")

    async def _room_of(self, part: _Part, now_s: float) -> int:
        """How many more may be written before it is counted again."""
        left = part.most - await self._count(part.subject)
        if left <= 0:
            forgotten = await self._forget(part.subject, beyond=-left)
            left += forgotten
            if forgotten < self._forgotten_at_once:
                part.closed_until_s = now_s + _LOOK_AGAIN_S
        return min(left, _UNCOUNTED)

    async def _count(self, subject: str) -> int:
        page = await read_page(self._nc, JOBS.name, subject, batch=1)
        return len(page.messages) + page.pending

    async def _forget(self, subject: str, beyond: int) -> int:
        """Drop what ended first; returns how many. `beyond`: so many more than the bound there are."""
        found = await self._forgettable(subject)
        doomed = to_forget(found, self._forgotten_at_once + min(beyond, 4 * self._forgotten_at_once))
        for start in range(0, len(doomed), _AT_ONCE):
            await asyncio.gather(*map(self._drop, doomed[start : start + _AT_ONCE]))
        if doomed:
            _log.warning("%d ended jobs of %s are forgotten to make room", len(doomed), subject)
        return len(doomed)

    async def _forgettable(self, subject: str) -> Sequence[Forgettable]:
        """The oldest, several times as many as shall go: so there is somebody to choose from."""
        found: list[Forgettable] = []
        sequence, now_ms = 1, self._clock.unix_ms()
        while len(found) < 5 * self._forgotten_at_once:
            page = await read_page(self._nc, JOBS.name, subject, sequence=sequence, batch=_PAGE)
            found += [_named(msg) for msg in page.messages if may_be_forgotten(_record(msg), now_ms)]
            if not page.messages or page.pending == 0:
                break
            sequence = page.next_sequence
        return found

    async def _drop(self, sequence: int) -> None:
        """Without overwriting it on the disk, as nats-py's `delete_msg` has it done: 11 ms each, and 0.05 ms so."""
        wish = msgspec.json.encode({"seq": sequence, "no_erase": True})
        msg = await self._nc.request(f"$JS.API.STREAM.MSG.DELETE.{JOBS.name}", wish, timeout=_TIMEOUT_S)
        error = _deleted.decode(msg.data).error
        if error is not None and error.err_code not in _NO_SUCH_MESSAGE:  # else another router was faster
            raise nats.errors.Error(f"{JOBS.name}: {error.description}")


def _named(msg: Msg) -> Forgettable:
    return Forgettable((msg.headers or {})["Nats-Subject"].split(".")[2], sequence_of(msg))


def _record(msg: Msg) -> Job | None:
    try:
        return codec.JOB.decode(msg.data)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
