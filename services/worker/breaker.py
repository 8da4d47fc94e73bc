"""The circuit breaker of one model (REQUIREMENTS D3): whether to call it, learnt from how the calls ended."""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct

from penstock.config.catalogue import Breaker

__all__ = ["PROBE_RETRY_S", "Admission", "CircuitBreaker", "State", "Transition"]

State = Literal["closed", "open", "half_open"]

PROBE_RETRY_S: Final = 1.0
"""While a probe is under way nobody knows when it ends: look again after this long."""


class Transition(Struct, frozen=True):
    """A change of state, for the event that tells of it."""

    before: State
    after: State


class Admission(Struct, frozen=True):
    """The answer to a call that wants to go. An admitted one is handed back with its outcome."""

    admitted: bool
    token: int = 0
    """Which period of the breaker's life it belongs to; an outcome from an earlier one says nothing now."""
    probe: bool = False
    retry_at_s: float = 0.0
    """If not admitted: when to ask again."""
    transition: Transition | None = None
    """Asking may itself move the breaker: from open to half-open."""


class CircuitBreaker:
    """Closed: every call goes. Open: none. Half-open: single probes.

    `failures` failures in a row open it. After `open_s` probes go, one at a time and at most one every
    `probe_interval_s`; `successes` good ones in a row close it, a failed one opens it for `open_s` again.

    Each admitted call ends in exactly one of `succeeded`, `failed` and `abandoned`, with its admission: a
    probe that is never reported keeps its place for ever. Instants are monotonic seconds.
    """

    def __init__(self, config: Breaker) -> None:
        self._config = config
        self._state: State = "closed"
        self._token = 0
        self._failures = 0
        self._successes = 0
        self._probing = False
        self._next_probe_s = 0.0
        self._go = Admission(admitted=True, token=0)

    @property
    def state(self) -> State:
        return self._state

    def retry_at_s(self, now_s: float) -> float:
        """When a call may be admitted: `now_s` if one would be now. Admits nothing itself."""
        if self._state == "closed":
            return now_s
        if self._probing:
            return max(self._next_probe_s, now_s + PROBE_RETRY_S)
        return max(self._next_probe_s, now_s)

    def admit(self, now_s: float) -> Admission:
        if self._state == "closed":
            return self._go
        retry_at_s = self.retry_at_s(now_s)
        if retry_at_s > now_s:
            return Admission(admitted=False, retry_at_s=retry_at_s)
        transition = self._move("half_open") if self._state == "open" else None
        self._token += 1
        self._probing = True
        self._next_probe_s = now_s + self._config.probe_interval_s
        return Admission(admitted=True, token=self._token, probe=True, transition=transition)

    def succeeded(self, admission: Admission, now_s: float) -> Transition | None:  # noqa: ARG002 - as its siblings
        if not self._current(admission):
            return None
        self._failures = 0
        if not admission.probe:
            return None
        self._end_probe()
        self._successes += 1
        if self._successes < self._config.successes:
            return None
        self._go = Admission(admitted=True, token=self._token)
        return self._move("closed")

    def failed(self, admission: Admission, now_s: float) -> Transition | None:
        """The provider failed: 5xx, a timeout, a broken connection or stream. Never a 429, which is quota."""
        if not self._current(admission):
            return None
        if admission.probe:
            return self._open(now_s)
        self._failures += 1
        return self._open(now_s) if self._failures >= self._config.failures else None

    def abandoned(self, admission: Admission, now_s: float) -> Transition | None:
        """The call was cancelled, or ended in something that says nothing of the provider's health (a 429):
        another probe may go at once.
        """
        if admission.probe and self._current(admission):
            self._end_probe()
            self._next_probe_s = now_s
        return None

    def _current(self, admission: Admission) -> bool:
        return admission.admitted and admission.token == self._token

    def _open(self, now_s: float) -> Transition:
        self._end_probe()
        self._failures = 0
        self._next_probe_s = now_s + self._config.open_s
        return self._move("open")

    def _end_probe(self) -> None:
        """Whatever comes in under the present token is from an earlier time now."""
        self._probing = False
        self._token += 1

    def _move(self, after: State) -> Transition:
        transition = Transition(self._state, after)
        self._state = after
        self._successes = 0
        return transition
