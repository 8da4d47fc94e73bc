"""Bounds the number of job records: an account has at most half of them, and ended jobs make way for new ones.

No account alone can exclude the others: the records of a flooding account are removed sooner, and its new jobs are
rejected when half of all records are its own waiting or running jobs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from nats.aio.client import Client as Nats
from nats.aio.msg import Msg

from penstock.bus.clock import Clock
from penstock.bus.direct_get import delete_message, read_page, sequence_of
from penstock.bus.ids import new_id
from penstock.bus.log_limits import rate_limited_logger
from penstock.bus.publish import StreamFull, store_or_refuse
from penstock.bus.write_check import StreamNotWritable, not_writable
from penstock.contract import codec, subjects
from penstock.contract.jobs import Job
from penstock.contract.streams import JOBS
from penstock.contract.subjects import ReplyAddress
from penstock.runtime.jobs.retention import RemovableRecord, choose_removals, is_removable
from penstock.runtime.jobs.store import Change, JobStore, JobWrite

__all__ = ["BoundedJobStore"]

_log: Final = rate_limited_logger(__name__)
_TRIES: Final = 20
_UNCOUNTED: Final = 100
"""New records of an account between two counts, because other routers write too."""
_LOOK_AGAIN_S: Final = 10.0
"""Seconds until the records are read again after few could be removed: reading 50,000 waiting ones takes a second."""
_MOST_ACCOUNTS: Final = 10_000
_PAGE: Final = 1000
_AT_ONCE: Final = 50


class _NotCounted(Exception):
    """The records have to be counted before the account may have one more."""


class _Allowance:
    """How many new records may be written below one subject: those of an account, or all."""

    def __init__(self, subject: str, most: int) -> None:
        self.subject = subject
        self.most = most
        self.left = 0
        """Records that may be written before the next count."""
        self.closed_until_s = float("-inf")
        self.one_at_a_time = asyncio.Lock()

    def take(self) -> None:
        if self.left <= 0:
            raise _NotCounted
        self.left -= 1


class BoundedJobStore(JobStore):
    """A job store that may write the records of new jobs, which can still be refused: where the server cannot write to
    `LLM_JOBS`, a write raises StreamNotWritable within 2 s, and at once while that was so for the last one.
    """

    def __init__(self, nc: Nats, clock: Clock, most: int = JOBS.max_messages) -> None:
        """`most`: the maximum number of records in the stream."""
        super().__init__(nc.jetstream())
        self._nc = nc
        self._clock = clock
        self._of_account = most // 2
        self._removed_at_once = max(1, most // 100)
        self._all = _Allowance(subjects.JOB_ALL, most)
        self._accounts: dict[str, _Allowance] = {}

    async def advance(self, address: ReplyAddress, change: Change) -> JobWrite:
        """Raises StreamFull if there is no space for a new job and no record can be removed."""
        allowance = self._allowance_of(address.account)

        def bounded(stored: Job | None) -> Job | None:
            if stored is None:
                allowance.take()
            return change(stored)

        for _ in range(_TRIES):
            try:
                return await super().advance(address, bounded)
            except _NotCounted:
                await self._make_space(allowance)
            except StreamFull:
                self._all.left = 0
                await self._make_space(self._all)
        raise StreamFull("other routers use the space for job records faster than it can be made")

    async def _write(self, subject: str, payload: bytes, headers: Mapping[str, str]) -> None:
        if JOBS.name in not_writable(self._js):
            raise StreamNotWritable(JOBS.name)
        await store_or_refuse(self._js, subject, payload, message_id=new_id(), headers=headers)

    def _allowance_of(self, account: str) -> _Allowance:
        if account not in self._accounts and len(self._accounts) >= _MOST_ACCOUNTS:
            self._accounts.clear()
        subject = subjects.jobs_of(account)
        return self._accounts.setdefault(account, _Allowance(subject, self._of_account))

    async def _make_space(self, allowance: _Allowance) -> None:
        """Raises StreamFull if no record can be removed."""
        async with allowance.one_at_a_time:
            if allowance.left > 0:
                return
            now_s = self._clock.monotonic_s()
            if now_s >= allowance.closed_until_s:
                allowance.left = await self._count_space(allowance, now_s)
            if allowance.left <= 0:
                raise StreamFull(
                    f"{allowance.most:,} jobs ({allowance.subject}) wait, run or have just ended"
                )

    async def _count_space(self, allowance: _Allowance, now_s: float) -> int:
        """How many more records may be written before the next count."""
        left = allowance.most - await self._count(allowance.subject)
        if left <= 0:
            removed = await self._remove(allowance.subject, beyond=-left)
            left += removed
            if removed < self._removed_at_once:
                allowance.closed_until_s = now_s + _LOOK_AGAIN_S
        return min(left, _UNCOUNTED)

    async def _count(self, subject: str) -> int:
        page = await read_page(self._nc, JOBS.name, subject, batch=1)
        return len(page.messages) + page.pending

    async def _remove(self, subject: str, beyond: int) -> int:
        """Remove the oldest ended records; returns their number. `beyond`: by how much the bound is exceeded."""
        found = await self._removable(subject)
        chosen = choose_removals(found, self._removed_at_once + min(beyond, 4 * self._removed_at_once))
        for start in range(0, len(chosen), _AT_ONCE):
            deletions = (
                delete_message(self._nc, JOBS.name, sequence, erase=False)
                for sequence in chosen[start : start + _AT_ONCE]
            )
            await asyncio.gather(*deletions)
        if chosen:
            _log.warning("%d ended jobs of %s were removed to make space", len(chosen), subject)
        return len(chosen)

    async def _removable(self, subject: str) -> Sequence[RemovableRecord]:
        """The oldest removable records, several times as many as needed, so that accounts can be compared."""
        found: list[RemovableRecord] = []
        sequence, now_ms = 1, self._clock.unix_ms()
        while len(found) < 5 * self._removed_at_once:
            page = await read_page(self._nc, JOBS.name, subject, sequence=sequence, batch=_PAGE)
            found += [_removable_record(msg) for msg in page.messages if is_removable(_record(msg), now_ms)]
            if not page.messages or page.pending == 0:
                break
            sequence = page.next_sequence
        return found


def _removable_record(msg: Msg) -> RemovableRecord:
    return RemovableRecord((msg.headers or {})["Nats-Subject"].split(".")[2], sequence_of(msg))


def _record(msg: Msg) -> Job | None:
    try:
        return codec.JOB.decode(msg.data)
    except codec.INVALID:
        return None
