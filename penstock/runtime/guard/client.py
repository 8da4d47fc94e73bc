"""Checks by the guard, asked by request/reply over one inbox."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from itertools import count
from typing import Final

import nats.errors
from msgspec import Struct, field
from nats.aio.client import Client as Nats
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from penstock.bus.clock import loop_now_s
from penstock.bus.freezes import AwakeTimeout, extended_s, frozen_s
from penstock.bus.log_limits import rate_limited_logger
from penstock.contract import codec, subjects
from penstock.contract.guard.checks import KEEP_ALIVE_TIMEOUT_S, GuardCheck, GuardVerdict
from penstock.contract.subjects import is_token

__all__ = ["GuardClient", "GuardUnreachable"]

_log: Final = rate_limited_logger(__name__)
_DIRECTLY_S: Final = 10.0
"""Seconds after a guard was silent during which checks are sent to the guard that answered last: the queue group of all
guards still contains the silent one, which would receive its share of them."""
_FIRST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 0.5
"""Seconds between two tries while no guard is subscribed, doubled from the first to the longest."""
_ABSENCE_KNOWN_S: Final = 60.0
"""Seconds without a check after which it is not known any more that no guard is subscribed."""
_SERVER_ANSWERS_S: Final = 0.25
"""Seconds within which the server says that no guard is subscribed."""
_SILENCE_WAIT_S: Final = 1.5
"""Seconds that a check waits while guards are subscribed and none answers: time for two tries."""
_NO_RESPONDERS: Final = "503"


class GuardUnreachable(Exception):
    """No guard answered within the time for it."""


class _Waiting(Struct):
    """A check without a verdict."""

    id: str
    wait_s: float
    began_s: float = field(default_factory=loop_now_s)
    messages: asyncio.Queue[Msg] = field(default_factory=asyncio.Queue)
    heard_s: float | None = None
    """When a guard last said that it works on it; None: it never did."""


class GuardClient:
    """Asks any guard, again while one is silent.

    Once a check had no answer in its whole time, further checks wait a short time each until a guard answers again, so
    that frozen guards do not make every request wait.
    """

    def __init__(self, nc: Nats) -> None:
        self._nc = nc
        self._inbox = nc.new_inbox()
        self._subscription: Subscription | None = None
        self._numbers = count(1)
        self._waiting: dict[str, _Waiting] = {}
        """By the last token of the inbox of a check."""
        self._silent = False
        """The last check had no answer, though a guard is subscribed."""
        self._absent_since_s: float | None = None
        """Since when no guard is subscribed; None while one is, as far as is known."""
        self._last_absent_s = 0.0
        self._answered_last = ""
        """The instance of a guard; empty: none that is known to answer."""
        self._directly_until_s = 0.0

    async def start(self) -> None:
        self._subscription = await self._nc.subscribe(f"{self._inbox}.*", cb=self._on_message)

    async def stop(self) -> None:
        if self._subscription is not None and not self._nc.is_closed:
            await self._subscription.unsubscribe()

    async def check(
        self, check: GuardCheck, wait_s: float, trace: Mapping[str, str] | None = None
    ) -> GuardVerdict:
        """The verdict of a guard; `trace`: headers that carry the trace of the request.

        Raises GuardUnreachable when no guard has answered for `wait_s`, or has said that it works on the check, and at
        once if none was subscribed for so long.
        """
        payload, headers = codec.encode(check), dict(trace) if trace else None
        number = str(next(self._numbers))
        waiting = self._waiting[number] = _Waiting(check.id, wait_s)
        pause_s = _FIRST_PAUSE_S
        try:
            while True:
                guard = self._answered_last if loop_now_s() < self._directly_until_s else ""
                sent = await self._send(payload, guard, number, headers)
                verdict = await self._verdict(waiting, guard) if sent else None
                if verdict is not None:
                    self._answered_last = verdict.guard if is_token(verdict.guard) else ""
                    return verdict
                left_s = self._give_up_s(waiting) - loop_now_s()
                if guard and sent and left_s > 0:
                    continue  # at once to the group: its guards have not been asked yet
                if left_s <= 0 or self._absent_s() >= wait_s:
                    raise self._unreachable(waiting)
                await asyncio.sleep(min(pause_s, left_s))
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        finally:
            del self._waiting[number]

    def _give_up_s(self, waiting: _Waiting) -> float:
        wait_s = min(waiting.wait_s, _SILENCE_WAIT_S) if self._silent else waiting.wait_s
        since_s = waiting.began_s if waiting.heard_s is None else waiting.heard_s
        return extended_s(since_s + wait_s, since_s)

    def _unreachable(self, waiting: _Waiting) -> GuardUnreachable:
        if self._absent_since_s is not None:
            return GuardUnreachable("no guard is running")
        waited_s = loop_now_s() - waiting.began_s - frozen_s(waiting.began_s)
        if waiting.heard_s is None and waited_s >= _SILENCE_WAIT_S:
            self._silent = True
        return GuardUnreachable(f"no verdict of a guard within {waited_s:.1f} s")

    def _note_silence(self, guard: str) -> None:
        self._directly_until_s = loop_now_s() + _DIRECTLY_S
        self._forget(guard)

    def _forget(self, guard: str) -> None:
        if guard == self._answered_last:
            self._answered_last = ""

    def _note_absence(self, guard: str) -> None:
        if guard:
            self._forget(guard)
            return
        now_s = loop_now_s()
        self._silent = False
        if self._absent_since_s is None or now_s - self._last_absent_s > _ABSENCE_KNOWN_S:
            self._absent_since_s = now_s
        self._last_absent_s = now_s

    def _absent_s(self) -> float:
        since_s = self._absent_since_s
        return 0.0 if since_s is None else loop_now_s() - since_s - frozen_s(since_s)

    async def _send(self, payload: bytes, guard: str, number: str, headers: dict[str, str] | None) -> bool:
        """`guard`: the instance; empty: any. Raises GuardUnreachable for a check that the server will never accept."""
        subject = subjects.GUARD_CHECK_OF.format(instance=guard) if guard else subjects.GUARD_CHECK
        try:
            await self._nc.publish(subject, payload, reply=f"{self._inbox}.{number}", headers=headers)
        except nats.errors.MaxPayloadError as error:
            raise GuardUnreachable(f"a check of {len(payload)} bytes is larger than NATS accepts") from error
        except nats.errors.Error as error:
            _log.warning("a check cannot be sent to a guard: %r", error)
            return False
        return True

    async def _verdict(self, waiting: _Waiting, guard: str) -> GuardVerdict | None:
        """The verdict; None when the check has to be sent again, or the time is over. `guard`: as of `_send`."""
        asked_s = loop_now_s()
        silent_s = asked_s + KEEP_ALIVE_TIMEOUT_S
        while True:
            give_up_s = self._give_up_s(waiting)
            try:
                async with AwakeTimeout(max(0.0, min(silent_s, give_up_s) - loop_now_s())):
                    message = await waiting.messages.get()
            except TimeoutError:
                if loop_now_s() - asked_s > _SERVER_ANSWERS_S:
                    self._absent_since_s = None
                if silent_s <= give_up_s:
                    self._note_silence(guard)
                return None
            if message.headers is not None and message.headers.get("Status") == _NO_RESPONDERS:
                self._note_absence(guard)
                return None
            self._absent_since_s, self._silent, waiting.heard_s = None, False, loop_now_s()
            if not message.data:
                silent_s = loop_now_s() + KEEP_ALIVE_TIMEOUT_S
                continue
            try:
                verdict = codec.GUARD_VERDICT.decode(message.data)
            except codec.INVALID as error:
                _log.warning("the verdict of a guard cannot be read: %s", error)
                return None
            if verdict.id == waiting.id:
                return verdict

    async def _on_message(self, msg: Msg) -> None:
        waiting = self._waiting.get(msg.subject.rpartition(".")[2])
        if waiting is not None:
            waiting.messages.put_nowait(msg)
