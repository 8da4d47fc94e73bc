"""The circuit breaker of one model or endpoint (D3)."""

from __future__ import annotations

from collections import deque
from typing import Final, Literal

from msgspec import Struct

from penstock.runtime.config.catalogue import Breaker

__all__ = ["PROBE_RETRY_S", "BreakerAdmission", "CircuitBreaker", "State", "SuccessRate", "Transition"]

State = Literal["closed", "open", "half_open"]
PROBE_RETRY_S: Final = 1.0
"""Seconds after which to ask again while a probe, whose end is unknown, is in flight."""
_TRIALS: Final = 20.0
"""Trials per second, and trials in flight, at a success share of 1; a lower share allows proportionally fewer."""
_MAX_TRIAL_INTERVAL_S: Final = 5.0
"""Maximum time between two trials, or `open_s` if that is shorter; the interval of a model without recent successes."""
_HUNG_TRIAL_S: Final = 5.0
"""Age from which a trial may hang and no longer counts as in flight."""
_MAX_DOUBLINGS: Final = 30
_MAX_CALLS: Final = 40
"""Number of calls in a success rate, at most, and below the seconds within which they ended."""
_WINDOW_S: Final = 60.0


class SuccessRate:
    """Outcomes of at most `_MAX_CALLS` calls of the last `_WINDOW_S` seconds. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._ends: deque[tuple[float, bool]] = deque(maxlen=_MAX_CALLS)

    def record(self, *, succeeded: bool, now_s: float) -> None:
        self._ends.append((now_s, succeeded))

    def success_share(self, now_s: float) -> float:
        """Between 0 and 1; 0 if no call ended within the window."""
        ends = self._ends
        while ends and ends[0][0] < now_s - _WINDOW_S:
            ends.popleft()
        return sum(succeeded for _, succeeded in ends) / len(ends) if ends else 0.0


class Transition(Struct, frozen=True):
    """A change of state, reported as an event."""

    before: State
    after: State


class BreakerAdmission(Struct, frozen=True):
    """The breaker's decision on one call; an admitted call reports its outcome with it."""

    admitted: bool
    generation: int = 0
    """The breaker's generation at the decision; the outcome of a call from an earlier generation is ignored."""
    probe: bool = False
    trial: bool = False
    began_s: float = 0.0
    """Start of a trial."""
    transition: Transition | None = None
    """The change from open to half-open that the decision caused, if any."""


class CircuitBreaker:
    """Closed: admits every call. Open: admits none. Half-open: admits single probes.

    `failure_threshold` consecutive failures open it. After `open_s` it admits probes, one at a time and at most one
    every `probe_interval_s`. `success_threshold` consecutive successful probes close it; a failed one opens it again,
    for twice as long as before and at most `max_open_s`.

    A trial is a call admitted while the breaker is not closed, for a request that no other model can serve. Trials are
    limited by the success share of recent calls and by the number of consecutive failed trials: a model that fails at
    random is called often, a model that is down once in `_MAX_TRIAL_INTERVAL_S`. `success_threshold` consecutive
    successful trials close the breaker too; failed trials leave its state unchanged. A trial older than `_HUNG_TRIAL_S`
    may hang and does not block others.

    Each admitted call must report exactly one of `succeeded`, `failed`, `abandoned` and `repeated`: an unreported probe
    blocks all later ones. Times are monotonic seconds.
    """

    def __init__(self, config: Breaker) -> None:
        self._config = config
        self._max_open_s = max(config.open_s, config.max_open_s)
        self._max_trial_interval_s = min(config.open_s, _MAX_TRIAL_INTERVAL_S)
        self._state: State = "closed"
        self._generation = 0
        self._failures = 0
        self._successes = 0
        self._openings = 0
        """Number of times it opened since it was last closed."""
        self._probing = False
        self._next_probe_s = 0.0
        self._recent = SuccessRate()
        self._closings = 0
        """The generation of trials."""
        self._trials: list[float] = []
        """Start times of the trials in flight."""
        self._failed_trials = 0
        """Number of consecutive failed trials."""
        self._next_trial_s = 0.0
        self._closed_admission = BreakerAdmission(admitted=True, generation=0)

    @property
    def state(self) -> State:
        return self._state

    def success_share(self, now_s: float) -> float:
        """Success share of the model's recent calls."""
        return self._recent.success_share(now_s)

    def retry_at_s(self, now_s: float) -> float:
        """The earliest time at which a call may be admitted; `now_s` if it would be admitted now. Admits nothing."""
        if self._state == "closed":
            return now_s
        if self._probing:
            return max(self._next_probe_s, now_s + PROBE_RETRY_S)
        return max(self._next_probe_s, now_s)

    def trial_at_s(self, now_s: float) -> float:
        """The earliest time, from `now_s` on, at which a call may be admitted, as a trial or otherwise."""
        probe_s = self.retry_at_s(now_s)
        if probe_s <= now_s:
            return probe_s
        in_flight = sum(now_s < began_s + _HUNG_TRIAL_S for began_s in self._trials)
        full = in_flight >= max(1.0, _TRIALS * self.success_share(now_s))
        trial_s = max(self._next_trial_s, now_s + PROBE_RETRY_S if full else now_s)
        return min(probe_s, trial_s)

    def admit(self, now_s: float, *, trial: bool = False) -> BreakerAdmission:
        """Decide on a call. `trial`: no other model can serve the request."""
        if self._state == "closed":
            return self._closed_admission
        if self.retry_at_s(now_s) > now_s:
            if trial and self.trial_at_s(now_s) <= now_s:
                return self._admit_trial(now_s)
            return BreakerAdmission(admitted=False)
        transition = self._move("half_open") if self._state == "open" else None
        self._generation += 1
        self._probing = True
        self._next_probe_s = now_s + self._config.probe_interval_s
        self._postpone_trials(now_s, now_s)
        return BreakerAdmission(admitted=True, generation=self._generation, probe=True, transition=transition)

    def succeeded(self, admission: BreakerAdmission, now_s: float) -> Transition | None:
        if admission.admitted:
            self._recent.record(succeeded=True, now_s=now_s)
        if not self._is_current(admission):
            return None
        self._failures = 0
        if admission.trial:
            self._trials.remove(admission.began_s)
        elif admission.probe:
            self._end_probe()
        else:
            return None
        self._failed_trials = 0
        self._next_trial_s = min(self._next_trial_s, now_s + self._trial_interval_s(now_s))
        self._successes += 1
        return None if self._successes < self._config.success_threshold else self._close()

    def failed(self, admission: BreakerAdmission, now_s: float) -> Transition | None:
        """Record a provider failure: 5xx, a timeout, a broken connection or stream; not a 429, which is a quota."""
        if admission.admitted:
            self._recent.record(succeeded=False, now_s=now_s)
        if not self._is_current(admission):
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
        return self._open(now_s) if self._failures >= self._config.failure_threshold else None

    def abandoned(self, admission: BreakerAdmission, now_s: float) -> Transition | None:
        """Record a call that was cancelled, or whose outcome does not indicate the provider's health (a 429). Another
        probe or trial is admitted at once.
        """
        if not self._is_current(admission):
            return None
        if admission.trial:
            self._trials.remove(admission.began_s)
            self._next_trial_s = now_s
        elif admission.probe:
            self._end_probe()
            self._next_probe_s = now_s
        return None

    def repeated(self, admission: BreakerAdmission, now_s: float) -> Transition | None:
        """Record a call that failed like an earlier one with the same content. The state stays unchanged; the next
        probe or trial waits for its interval, so that the same request is not called in a loop.
        """
        if admission.trial:
            return self.failed(admission, now_s)
        if admission.probe and self._is_current(admission):
            self._end_probe()
        return None

    def _admit_trial(self, now_s: float) -> BreakerAdmission:
        self._trials.append(now_s)
        self._postpone_trials(now_s, now_s)
        return BreakerAdmission(admitted=True, generation=self._closings, trial=True, began_s=now_s)

    def _postpone_trials(self, since_s: float, now_s: float) -> None:
        """Delay the next trial by its interval, counted from `since_s`, the start of the last one."""
        self._next_trial_s = max(self._next_trial_s, since_s + self._trial_interval_s(now_s))

    def _trial_interval_s(self, now_s: float) -> float:
        share = self.success_share(now_s)
        if share == 0:
            return self._max_trial_interval_s
        interval_s = 2.0 ** min(self._failed_trials, _MAX_DOUBLINGS) / (_TRIALS * share)
        return min(self._max_trial_interval_s, interval_s)

    def _is_current(self, admission: BreakerAdmission) -> bool:
        if admission.trial:
            return self._state != "closed" and admission.generation == self._closings
        return admission.admitted and admission.generation == self._generation

    def _open(self, now_s: float) -> Transition:
        self._end_probe()
        self._failures = 0
        open_s = self._config.open_s * 2.0 ** min(self._openings, _MAX_DOUBLINGS)
        self._next_probe_s = now_s + min(self._max_open_s, open_s)
        self._openings += 1
        self._postpone_trials(now_s, now_s)
        return self._move("open")

    def _close(self) -> Transition:
        self._end_probe()
        self._openings = self._failed_trials = 0
        self._trials.clear()
        self._closings += 1
        self._next_trial_s = 0.0
        self._closed_admission = BreakerAdmission(admitted=True, generation=self._generation)
        return self._move("closed")

    def _end_probe(self) -> None:
        """Start a new generation, so that outcomes of calls in flight are ignored."""
        self._probing = False
        self._generation += 1

    def _move(self, after: State) -> Transition:
        transition = Transition(self._state, after)
        self._state = after
        self._successes = 0
        return transition
