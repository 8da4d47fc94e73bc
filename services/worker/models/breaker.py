"""The circuit breaker of one model (REQUIREMENTS D3): whether to call it, learnt from how the calls ended."""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct

from penstock.runtime.config.catalogue import Breaker
from services.worker.models.success_rate import RecentCalls

__all__ = ["PROBE_RETRY_S", "Admission", "CircuitBreaker", "State", "Transition"]

State = Literal["closed", "open", "half_open"]

PROBE_RETRY_S: Final = 1.0
"""While a probe is under way nobody knows when it ends: look again after this long."""
_TRIALS: Final = 20.0
"""Trial calls per second, and under way at once, at a success share of 1; a lower share allows proportionally fewer."""
_RAREST_TRIAL_S: Final = 5.0
"""The longest time between two trial calls, or `open_s` where that is shorter: a model that has not answered lately is
called once in this time and no more."""
_HOLDS_ITS_PLACE_S: Final = 5.0
"""A trial that takes longer keeps no other one from going: it may hang."""
_DOUBLINGS: Final = 30


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
    trial: bool = False
    began_s: float = 0.0
    """Of a trial."""
    retry_at_s: float = 0.0
    """If not admitted: when to ask again."""
    transition: Transition | None = None
    """Asking may itself move the breaker: from open to half-open."""


class CircuitBreaker:
    """Closed: every call goes. Open: none. Half-open: single probes.

    `failures` failures in a row open it. After `open_s` probes go, one at a time and at most one every
    `probe_interval_s`; `successes` good ones in a row close it, a failed one opens it again, for twice as long as
    before and `longest_open_s` at most.

    A trial is a call made although the breaker is not closed, for a request that no other model can serve. Trials are
    bounded by the share of recent calls that succeeded, and by how many trials failed in a row: a model that fails at
    random is called often, one that is down once in `_RAREST_TRIAL_S`. `successes` good ones in a row close the breaker
    too; failed ones leave it as it is. One that takes longer than `_HOLDS_ITS_PLACE_S` may hang, and keeps no other one
    from going.

    Each admitted call ends in exactly one of `succeeded`, `failed`, `abandoned` and `repeated`, with its admission: a
    probe that is never reported keeps its place for ever. Instants are monotonic seconds.
    """

    def __init__(self, config: Breaker) -> None:
        self._config = config
        self._longest_open_s = max(config.open_s, config.longest_open_s)
        self._rarest_trial_s = min(config.open_s, _RAREST_TRIAL_S)
        self._state: State = "closed"
        self._token = 0
        self._failures = 0
        self._successes = 0
        self._openings = 0
        """Since it was last closed."""
        self._probing = False
        self._next_probe_s = 0.0
        self._recent = RecentCalls()
        self._closings = 0
        """The token of trials."""
        self._trials: list[float] = []
        """When those under way began."""
        self._failed_trials = 0
        """In a row."""
        self._next_trial_s = 0.0
        self._go = Admission(admitted=True, token=0)

    @property
    def state(self) -> State:
        return self._state

    def success_share(self, now_s: float) -> float:
        """Of the model's latest calls."""
        return self._recent.success_share(now_s)

    def retry_at_s(self, now_s: float) -> float:
        """When a call may be admitted: `now_s` if one would be now. Admits nothing itself."""
        if self._state == "closed":
            return now_s
        if self._probing:
            return max(self._next_probe_s, now_s + PROBE_RETRY_S)
        return max(self._next_probe_s, now_s)

    def trial_at_s(self, now_s: float) -> float:
        """When a call may be admitted as a trial, or as any other; not before `now_s`."""
        probe_s = self.retry_at_s(now_s)
        if probe_s <= now_s:
            return probe_s
        fresh = sum(now_s < began_s + _HOLDS_ITS_PLACE_S for began_s in self._trials)
        full = fresh >= max(1.0, _TRIALS * self.success_share(now_s))
        trial_s = max(self._next_trial_s, now_s + PROBE_RETRY_S if full else now_s)
        return min(probe_s, trial_s)

    def admit(self, now_s: float, *, trial: bool = False) -> Admission:
        """`trial`: no other model can serve the request."""
        if self._state == "closed":
            return self._go
        retry_at_s = self.retry_at_s(now_s)
        if retry_at_s > now_s:
            if trial and self.trial_at_s(now_s) <= now_s:
                return self._admit_trial(now_s)
            return Admission(admitted=False, retry_at_s=retry_at_s)
        transition = self._move("half_open") if self._state == "open" else None
        self._token += 1
        self._probing = True
        self._next_probe_s = now_s + self._config.probe_interval_s
        self._postpone_trials(now_s, now_s)
        return Admission(admitted=True, token=self._token, probe=True, transition=transition)

    def succeeded(self, admission: Admission, now_s: float) -> Transition | None:
        if admission.admitted:
            self._recent.add(succeeded=True, now_s=now_s)
        if not self._current(admission):
            return None
        self._failures = 0
        if admission.trial:
            self._trials.remove(admission.began_s)
        elif admission.probe:
            self._end_probe()
        else:
            return None
        self._failed_trials = 0
        self._next_trial_s = min(self._next_trial_s, now_s + self._trial_pause_s(now_s))
        self._successes += 1
        return None if self._successes < self._config.successes else self._close()

    def failed(self, admission: Admission, now_s: float) -> Transition | None:
        """The provider failed: 5xx, a timeout, a broken connection or stream. Never a 429, which is quota."""
        if admission.admitted:
            self._recent.add(succeeded=False, now_s=now_s)
        if not self._current(admission):
            return None
        if admission.trial:
            self._trials.remove(admission.began_s)
            self._successes = 0
            self._failed_trials += 1
            self._postpone_trials(admission.began_s, now_s)
            return None
        if admission.probe:
            return self._open(now_s)
        self._failures += 1
        return self._open(now_s) if self._failures >= self._config.failures else None

    def abandoned(self, admission: Admission, now_s: float) -> Transition | None:
        """The call was cancelled, or ended in something that says nothing of the provider's health (a 429):
        another probe or trial may go at once.
        """
        if not self._current(admission):
            return None
        if admission.trial:
            self._trials.remove(admission.began_s)
            self._next_trial_s = now_s
        elif admission.probe:
            self._end_probe()
            self._next_probe_s = now_s
        return None

    def repeated(self, admission: Admission, now_s: float) -> Transition | None:
        """The call failed as one with the same content did before: the breaker stays as it is, and the next probe or
        trial waits for its time, so that the same request is not called in a loop.
        """
        if admission.trial:
            return self.failed(admission, now_s)
        if admission.probe and self._current(admission):
            self._end_probe()
        return None

    def _admit_trial(self, now_s: float) -> Admission:
        self._trials.append(now_s)
        self._postpone_trials(now_s, now_s)
        return Admission(admitted=True, token=self._closings, trial=True, began_s=now_s)

    def _postpone_trials(self, since_s: float, now_s: float) -> None:
        """`since_s`: when the last one began, which may have hung for long."""
        self._next_trial_s = max(self._next_trial_s, since_s + self._trial_pause_s(now_s))

    def _trial_pause_s(self, now_s: float) -> float:
        share = self.success_share(now_s)
        if share == 0:
            return self._rarest_trial_s
        return min(self._rarest_trial_s, 2.0 ** min(self._failed_trials, _DOUBLINGS) / (_TRIALS * share))

    def _current(self, admission: Admission) -> bool:
        if admission.trial:
            return self._state != "closed" and admission.token == self._closings
        return admission.admitted and admission.token == self._token

    def _open(self, now_s: float) -> Transition:
        self._end_probe()
        self._failures = 0
        open_s = self._config.open_s * 2.0 ** min(self._openings, _DOUBLINGS)
        self._next_probe_s = now_s + min(self._longest_open_s, open_s)
        self._openings += 1
        self._postpone_trials(now_s, now_s)
        return self._move("open")

    def _close(self) -> Transition:
        self._end_probe()
        self._openings = self._failed_trials = 0
        self._trials.clear()
        self._closings += 1
        self._next_trial_s = 0.0
        self._go = Admission(admitted=True, token=self._token)
        return self._move("closed")

    def _end_probe(self) -> None:
        """Whatever comes in under the present token is from an earlier time now."""
        self._probing = False
        self._token += 1

    def _move(self, after: State) -> Transition:
        transition = Transition(self._state, after)
        self._state = after
        self._successes = 0
        return transition
