"""How long one attempt may take of the time that is left, so that another can still be made (D1)."""

from __future__ import annotations

from collections import deque
from typing import Final

from msgspec.structs import replace

from penstock.bus.clock import loop_now_s
from penstock.runtime.config.catalogue import Timeouts
from services.worker.execution.state import CallState
from services.worker.intake.hand_back import HandBackPolicy

__all__ = ["AnswerTimes", "TimeLimits", "shortened"]

_SHARE: Final = 0.5
"""Share of the remaining time that an attempt may take, unless its limit is a larger share of the role's whole time."""
_LARGEST_SHARE: Final = 0.9
"""Upper bound of that larger share."""
_ABOVE_USUAL: Final = 1.5
"""Multiple of the slowest recent answer below which no limit is shortened."""
_LATEST: Final = 20
"""Number of answers per model whose duration is kept."""
_SILENT_S: Final = 1.0
"""Seconds of silence (or twice the usual time of an answer, if longer) after which a call that the deadline ends counts
as failed."""
_DEADLINE_TOLERANCE_S: Final = 0.02
"""Seconds by which a timer may be early or late."""


class AnswerTimes:
    """How long the latest answers of each model took: streams to their first token, other replies to their end."""

    def __init__(self) -> None:
        self._latest: dict[tuple[str, bool], deque[float]] = {}

    def add(self, model: str, took_s: float, *, stream: bool) -> None:
        self._latest.setdefault((model, stream), deque(maxlen=_LATEST)).append(took_s)

    def slowest_s(self, model: str, *, stream: bool) -> float:
        """0 where no answer is known."""
        return max(self._latest.get((model, stream), (0.0,)))


class TimeLimits:
    """The time limits of each attempt, and the durations of answers that they depend on."""

    def __init__(self, hand_back: HandBackPolicy) -> None:
        self._hand_back_policy = hand_back
        self._times = AnswerTimes()

    def limits(self, execution: CallState, model: str) -> Timeouts:
        """The role's limits, shorter where another model, another worker or a second call could still answer."""
        execution.silent_until_deadline = False
        history = execution.history
        limits, now_s = execution.role.timeouts, loop_now_s()
        usual_s = self._times.slowest_s(model, stream=execution.work.stream)
        for each in execution.chain:
            if each != model and each not in history.excluded and each not in history.not_before_s:
                return shortened(limits, execution.deadline_s - now_s, usual_s)
        first = not history.failed and execution.delivery == 1
        if first and (usual_s > 0 or self._may_hand_back(execution, now_s)):
            return shortened(limits, execution.deadline_s - now_s, usual_s)
        return limits

    def _may_hand_back(self, execution: CallState, now_s: float) -> bool:
        """Whether another worker may take the request over; a batch of texts stays where its call was slow."""
        work = execution.work
        return work.kind != "embed" and self._hand_back_policy.possible(work.role, now_s)

    def note_answer(self, execution: CallState, model: str, began_s: float, first_s: float | None) -> None:
        """`first_s`: when the first output of a streamed answer came, or all of another one; None: now."""
        stream = execution.work.stream
        arrived_s = loop_now_s() if first_s is None else first_s
        self._times.add(model, arrived_s - began_s, stream=stream)

    def note_interruption(self, execution: CallState, model: str, began_s: float) -> None:
        """A call without any output was interrupted: note whether the deadline ended it after a long silence."""
        now_s = loop_now_s()
        if now_s >= execution.deadline_s - _DEADLINE_TOLERANCE_S:
            usual_s = self._times.slowest_s(model, stream=execution.work.stream)
            execution.silent_until_deadline = now_s - began_s >= max(_SILENT_S, 2 * usual_s)


def shortened(timeouts: Timeouts, left_s: float, usual_s: float) -> Timeouts:
    """The limits of an attempt that leaves time for another one before the deadline, which is `left_s` away.

    `usual_s`: how long an answer of the model may take.
    """
    if max(timeouts.first_token_s, timeouts.non_streaming_s) <= left_s * _SHARE:
        return timeouts
    usual_s *= _ABOVE_USUAL
    first_s = _shortened(timeouts.first_token_s, timeouts.total_s, left_s, usual_s)
    non_streaming_s = _shortened(timeouts.non_streaming_s, timeouts.total_s, left_s, usual_s)
    if first_s == timeouts.first_token_s and non_streaming_s == timeouts.non_streaming_s:
        return timeouts
    return replace(timeouts, first_token_s=round(first_s, 3), non_streaming_s=round(non_streaming_s, 3))


def _shortened(limit_s: float, total_s: float, left_s: float, least_s: float) -> float:
    share = min(_LARGEST_SHARE, max(_SHARE, limit_s / total_s)) if total_s > 0 else _SHARE
    return min(limit_s, max(left_s * share, least_s))
