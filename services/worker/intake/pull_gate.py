"""When a mailbox is pulled from: work without quota stays in it, where every worker can take it."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from penstock.bus.clock import loop_now_s
from penstock.contract.names import Kind, Lane, Role
from penstock.runtime.config.catalogue import RoleConfig
from services.worker.intake.hand_back import HandBackPolicy
from services.worker.intake.wait_queue import WaitQueue
from services.worker.models.availability import Availability
from services.worker.quota_monitor.monitor import QuotaMonitor

__all__ = ["PullGate", "RoleLane", "batch_slots"]

_RECHECK_S: Final = 1.0
"""Seconds between checks while half of the slots wait; freed quota or a freed slot also wakes the mailbox."""
_SCARCE_S: Final = 2.0
"""Seconds for which quota counts as scarce after it was used up or waited for: it becomes free gradually."""
_ABOVE_QUOTA: Final = 4
"""Requests that a worker takes beyond those with quota while it is scarce."""
_GATHERED: Final = 8
"""Embed requests that a worker holds for each slot of the role (docs/embeddings.md)."""
_FOR_TRIALS: Final = 2
"""Requests that wait in this worker while every breaker of the chain is open: one for the next trial, and one more."""


class RoleLane(Struct, frozen=True):
    """One lane of a role, which has its own mailbox and slots."""

    role: Role
    lane: Lane
    chain: tuple[str, ...]
    slots: int
    gathers: bool = False
    """Its requests are of use without quota: their texts may be known, or be in a call in flight."""

    @classmethod
    def of(cls, role: Role, lane: Lane, config: RoleConfig, kind: Kind = "chat") -> RoleLane:
        """`kind`: of the role. Embed requests wait in the worker to be gathered into provider batches, so more of them
        are taken than chat requests.
        """
        slots = config.slots_per_worker if lane == "interactive" else config.batch_slots_per_worker
        gathers = kind == "embed"
        return cls(role, lane, config.chain, slots * _GATHERED if gathers else slots, gathers)


def batch_slots(batch: int, *, interactive: int, running: int) -> int:
    """How many of the `batch` slots may be used while `running` of the `interactive` ones are taken.

    Batch work has its own slots, so it never takes an interactive one. While all interactive slots are taken, requests
    may be waiting for them, and batch work proceeds one request at a time.
    """
    return batch if running < interactive else min(batch, 1)


class PullGate:
    """The gate of one role's lane. Requests that wait in one lane do not stop the other (C6)."""

    def __init__(
        self,
        lane: RoleLane,
        availability: Availability,
        quota_monitor: QuotaMonitor,
        hand_back: HandBackPolicy,
        waiting: WaitQueue,
    ) -> None:
        self._lane = lane
        self._availability = availability
        self._quota_monitor = quota_monitor
        self._hand_back_policy = hand_back
        self._waiting = waiting
        self._most_waiting = max(1, lane.slots // 2)
        self._scarce_until_s = float("-inf")

    def closed_s(self) -> float:
        """Seconds until the next pull makes sense; 0: now."""
        role, chain, now_s = self._lane.role, self._lane.chain, loop_now_s()
        all_open = self._availability.all_open(chain, now_s)
        most = min(self._most_waiting, _FOR_TRIALS) if all_open else self._most_waiting
        if self._waiting.count(role, self._lane.lane) >= most:
            closed_s = _RECHECK_S
        else:
            last_resort = all_open and self._makes_trials(now_s)
            closed_s = (
                self._hand_back_policy.pause_s(role, now_s)
                or self._left_to_others_s(now_s)
                or self._availability.opens_in_s(
                    chain,
                    now_s,
                    self._lane.lane,
                    last_resort=last_resort,
                    quota_counts=not self._lane.gathers,
                )
            )
        if closed_s > 0:
            self._scarce_until_s = now_s + closed_s + _SCARCE_S
        if self._lane.lane == "interactive":
            self._quota_monitor.record_gate(role, closed_s, now_s)
        return closed_s

    def at_most(self, running: int) -> int:
        """How many requests this worker may hold while it holds `running`.

        Where quota is scarce, these are a few more than have quota: a request that waits in one worker is overtaken by
        later requests in another.
        """
        waiting, now_s = self._waiting.count(self._lane.role, self._lane.lane), loop_now_s()
        if waiting:
            self._scarce_until_s = max(self._scarce_until_s, now_s + _SCARCE_S)
        if self._availability.all_open(self._lane.chain, now_s):
            return min(self._lane.slots, running - waiting + _FOR_TRIALS)
        if now_s >= self._scarce_until_s or self._lane.gathers:
            return self._lane.slots
        return min(self._lane.slots, running - waiting + _ABOVE_QUOTA)

    def _left_to_others_s(self, now_s: float) -> float:
        """While this worker can call no model of the chain, it leaves the work to a worker that can."""
        unusable = all(self._availability.is_unusable_here(model, now_s) for model in self._lane.chain)
        return _RECHECK_S if unusable and self._hand_back_policy.possible(self._lane.role, now_s) else 0.0

    def _makes_trials(self, now_s: float) -> bool:
        """A worker without a recent answer leaves the work to a worker that can serve it."""
        answered = self._availability.answers_lately(self._lane.chain, now_s)
        return answered or not self._hand_back_policy.possible(self._lane.role, now_s)
