"""Which partitions this process owns: taken when it is their owner among the live processes, left when it is not."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final, Protocol

import nats.errors
from nats.js.errors import APIError, NoStreamResponseError

from penstock.bus.clock import Clock, common_tick_s
from penstock.bus.log_limits import rate_limited_logger
from penstock.runtime.aio import CriticalLoop, cancel_and_wait
from services.ledger.budget.periods import UnknownTimeZone
from services.ledger.metrics import LedgerMetrics
from services.ledger.partitions.assignment import PARTITIONS, partitions_of
from services.ledger.partitions.journal import Fenced, JournalDamaged, JournalLost, NotStored
from services.ledger.partitions.members import Members
from services.ledger.partitions.snapshots import SnapshotDamaged, SnapshotReplaced
from services.ledger.partitions.writer import TICK_S, OutOfContact

__all__ = ["Ownership"]

_log: Final = rate_limited_logger(__name__)
_LOOK_S: Final = 0.1
"""Seconds between two looks while a partition is being taken or left; otherwise they are `TICK_S` apart."""
_HANDOVER_S: Final = 1.0
"""Seconds for which an owner goes on when another process should be it: that one takes over within them, and fences
this one, so that there is no gap."""
_FIRST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 1.0
"""Seconds between two attempts to own a partition."""
_STOP_S: Final = 5.0
_FAILURES: Final = (nats.errors.Error, APIError, NoStreamResponseError, TimeoutError, OSError)


class _Term(Protocol):
    """One time of owning a partition, from loading its state to its end."""

    async def run(self) -> None:
        """Own the partition until `release`. Raises Fenced when another process took it, and other errors."""
        ...

    def release(self) -> None: ...

    def tick(self) -> None:
        """Look at what changes with time; called every `TICK_S`."""
        ...

    @property
    def is_owner(self) -> bool: ...


class Ownership:
    def __init__(
        self,
        instance: str,
        members: Members,
        begin: Callable[[str], _Term],
        clock: Clock,
        metrics: LedgerMetrics,
    ) -> None:
        self._instance = instance
        self._members = members
        self._begin = begin
        self._clock = clock
        self._metrics = metrics
        self._terms: dict[str, _Term] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._unwanted_s: dict[str, float] = {}
        """Since when another process should own a partition that this one owns."""
        self._leaving = False
        self.changed = asyncio.Event()
        """Set when partitions were taken or left, for the next heartbeat."""
        self._reported: tuple[str, ...] = ()
        self._look_soon = asyncio.Event()
        self._look = CriticalLoop("ownership")
        self._tick = CriticalLoop("ledger tick")

    @property
    def owned(self) -> tuple[str, ...]:
        return tuple(
            each for each in PARTITIONS if (term := self._terms.get(each)) is not None and term.is_owner
        )

    @property
    def is_settled(self) -> bool:
        """Whether this process hears the others and owns exactly what it should."""
        now_s = self._clock.monotonic_s()
        return self._members.in_contact(now_s) and self._wanted(now_s) == frozenset(self.owned)

    def start(self) -> None:
        self._look.start(self._run())
        self._tick.start(self._tick_terms())

    def look(self) -> None:
        """Adjust what is owned now: another process said that it stops."""
        self._look_soon.set()

    async def leave(self) -> None:
        """Hand every partition over. Others that live have been told that this process stops."""
        self._leaving = True
        try:
            async with asyncio.timeout(_HANDOVER_S if self._members.others(self._clock.monotonic_s()) else 0):
                while self._terms:  # noqa: ASYNC110 - each ends by itself
                    await asyncio.sleep(_LOOK_S / 10)
        except TimeoutError:
            for term in self._terms.values():
                term.release()
        await self._look.stop()
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=_STOP_S)
            await cancel_and_wait(*self._tasks.values())
        await self._tick.stop()

    async def _run(self) -> None:
        while True:
            self._adjust(self._clock.monotonic_s())
            if self._reported != self.owned:
                self._reported = self.owned
                self.changed.set()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(common_tick_s(TICK_S) if self.is_settled else _LOOK_S):
                    await self._look_soon.wait()
            self._look_soon.clear()

    async def _tick_terms(self) -> None:
        """One timer for all partitions: each would wake up the process at another time if it had its own."""
        while True:
            await asyncio.sleep(common_tick_s(TICK_S))
            for term in self._terms.values():
                term.tick()

    def _adjust(self, now_s: float) -> None:
        wanted = self._wanted(now_s)
        for name in wanted - self._tasks.keys():
            self._tasks[name] = asyncio.create_task(self._keep(name), name=f"partition {name}")
        for name, term in self._terms.items():
            if name in wanted or self._leaving:
                self._unwanted_s.pop(name, None)
            elif now_s - self._unwanted_s.setdefault(name, now_s) >= _HANDOVER_S:
                term.release()
        self._tasks = {name: task for name, task in self._tasks.items() if not task.done()}

    def _wanted(self, now_s: float) -> frozenset[str]:
        if self._leaving or not self._members.in_contact(now_s):
            return frozenset()
        return partitions_of(self._instance, self._members.live(now_s))

    async def _keep(self, name: str) -> None:
        """Own a partition for as long as this process should."""
        pause_s = _FIRST_PAUSE_S
        while name in self._wanted(self._clock.monotonic_s()):
            began_s = self._clock.monotonic_s()
            await self._serve(name)
            if self._clock.monotonic_s() - began_s > _LONGEST_PAUSE_S:
                pause_s = _FIRST_PAUSE_S
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    async def _serve(self, name: str) -> None:
        term = self._terms[name] = self._begin(name)
        try:
            await term.run()
        except (JournalLost, UnknownTimeZone) as error:
            _log.error("partition %s cannot go on, and is loaded again: %s", name, error)
        except Fenced:
            self._metrics.fenced.inc()
            _log.info("partition %s has another owner now", name)
        except OutOfContact:
            _log.warning("partition %s is given up: this process was frozen or cut off", name)
        except NotStored as error:
            _log.warning("partition %s cannot store its journal, and loads it again: %s", name, error)
        except SnapshotReplaced:
            _log.info("partition %s was saved by the owner before, and is loaded again", name)
        except SnapshotDamaged as error:
            _log.error("%s: restore the stream of snapshots", error)
        except JournalDamaged as error:
            _log.error("%s", error)
        except _FAILURES as error:
            _log.warning("partition %s cannot be loaded or served now: %r", name, error)
        except Exception:  # noqa: BLE001 - one partition must not stop the others
            _log.exception("partition %s failed, and is loaded again", name)
        finally:
            del self._terms[name]
            self._unwanted_s.pop(name, None)
