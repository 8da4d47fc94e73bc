"""Pauses of models without a configured limit, kept in the bucket so that every worker applies them (C4)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from penstock.bus.clock import Clock, loop_now_s
from penstock.bus.log_limits import rate_limited_logger
from penstock.contract import codec
from penstock.contract.quota import QuotaRecord
from penstock.runtime.aio import CriticalLoop
from services.worker.rate_limit.learned.rate import alive
from services.worker.rate_limit.record.decode import decode_record
from services.worker.rate_limit.shared.store_protocol import Conflict, RecordStore, Stored, Unreachable

__all__ = ["SharedPauses"]

_log: Final = rate_limited_logger(__name__)
_AGAIN_S: Final = 0.5
_HEARD_AGAIN_S: Final = 0.25
"""A pause that ends so much later than the one we know is the same one, a delivery later."""


class SharedPauses:
    """One record for each (credential or quota group, model), written when a pause begins and at no other time.

    Nobody carries such a record's clock on: `paused_until_ms` - `at_ms` is how long the pause lasts from the moment
    the entry was stored. Who hears of it at once needs no clock for that; who comes later asks by how much its wall
    clock has passed the server's stamp, and if the two disagree finds out by one request more, or some seconds late.
    """

    def __init__(
        self,
        on_pause: Callable[[str, float, str], None],
        on_learned: Callable[[str], None],
        clock: Clock,
    ) -> None:
        """`on_pause(record, until_s, why)`: a worker was refused. Instants are monotonic seconds.

        `on_learned(record)`: a limit was learned there, which is reserved by leases from now on.
        """
        self._on_learned = on_learned
        self._on_pause = on_pause
        self._clock = clock
        self._ends: dict[str, tuple[float, str]] = {}
        self._unwritten: set[str] = set()
        self._unread: set[str] = set()
        self._wake = asyncio.Event()
        self._running = CriticalLoop("quota pauses")

    async def start(self, records: RecordStore, names: Iterable[str]) -> None:
        """Learn what is paused at this moment. What cannot be read now is read later."""
        self._records = records
        self._unread = set(names)
        try:
            await self._read_all()
        except Unreachable as error:
            _log.warning("the pauses of others are not known yet: %s", error)
            self._wake.set()
        self._running.start(self._run())

    async def stop(self) -> None:
        await self._running.stop()

    def pause(self, name: str, until_s: float, why: str) -> None:
        """Told to everybody, unless it is known to last longer."""
        if until_s > self._end_s(name):
            self._ends[name] = (until_s, why)
            self._unwritten.add(name)
            self._wake.set()

    def observe(self, name: str, stored: Stored) -> None:
        """An entry was stored just now, by whomever."""
        self._take(name, stored, age_s=0.0)

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self._read_all()
                while self._unwritten:
                    name = next(iter(self._unwritten))
                    await self._write(name, *self._ends[name])
            except Unreachable as error:
                _log.warning("a pause could not be told to the other workers yet: %s", error)
                await asyncio.sleep(_AGAIN_S)
                self._wake.set()

    async def _read_all(self) -> None:
        for name in tuple(self._unread):
            await self._read(name)
            self._unread.discard(name)

    async def _read(self, name: str) -> Stored | None:
        stored = await self._records.read(name)
        if stored is not None:
            self._take(name, stored, age_s=max(0.0, self._clock.unix_s() - stored.at_s))
        return stored

    async def _write(self, name: str, until_s: float, why: str) -> None:
        """On top of what others have written meanwhile, unless theirs lasts longer."""
        while True:
            stored = await self._read(name)
            left_ms = round((until_s - loop_now_s()) * 1000)
            if left_ms <= 0 or name not in self._unwritten:
                self._unwritten.discard(name)
                return
            known = (None if stored is None else decode_record(name, stored)) or QuotaRecord(at_ms=0)
            made = msgspec.structs.replace(known, paused_until_ms=known.at_ms + left_ms, pause_reason=why)
            try:
                await self._records.write(name, codec.encode(made), 0 if stored is None else stored.revision)
            except Conflict:
                continue
            if self._end_s(name) <= until_s:  # else it grew longer meanwhile, and is told again
                self._unwritten.discard(name)
            return

    def _take(self, name: str, stored: Stored, age_s: float) -> None:
        record = decode_record(name, stored)
        if record is None:
            return
        now_s = loop_now_s()
        if alive(record.learned, record.at_ms + int(age_s * 1000)):
            self._unwritten.discard(name)
            self._on_learned(name)
            return
        until_s = now_s + (record.paused_until_ms - record.at_ms) / 1000 - age_s
        if until_s > max(now_s, self._end_s(name) + _HEARD_AGAIN_S):
            self._ends[name] = (until_s, record.pause_reason)
            self._unwritten.discard(name)
            self._on_pause(name, until_s, record.pause_reason)

    def _end_s(self, name: str) -> float:
        return self._ends.get(name, (float("-inf"), ""))[0]
