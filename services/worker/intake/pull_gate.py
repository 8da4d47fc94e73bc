"""When a mailbox is pulled from: work that finds no quota stays in it, where every worker can take it."""

from __future__ import annotations

from typing import Final

from penstock.bus.clock import loop_now_s
from penstock.contract.names import Lane, Role
from services.worker.execution.equipment import Equipment
from services.worker.execution.wait_queue import Waiting

__all__ = ["PullGate"]

_WAITING_S: Final = 1.0
"""While half of the slots wait the mailbox looks again this often; it is woken when something is given back."""
_SCARCE_S: Final = 2.0
"""Quota that was gone a moment ago, or that somebody waited for, comes back little by little."""
_A_FEW: Final = 4
_FOR_TRIALS: Final = 2
"""How many requests wait in hand while no breaker of the chain is closed: one for the next trial, and one behind it."""


class PullGate:
    """Of one role and lane. What the one lane waits for stops the other one not (REQUIREMENTS C6)."""

    def __init__(self, equipment: Equipment, waiting: Waiting, role: Role, lane: Lane) -> None:
        self._availability = equipment.availability
        self._handover = equipment.handover
        self._tiers = equipment.tiers
        self._waiting = waiting
        self._role: Role = role
        self._lane: Lane = lane
        config = equipment.catalogue.roles[role]
        self._chain = config.chain
        slots = config.concurrency if lane == "interactive" else config.batch_concurrency
        self._slots = slots
        self._most_waiting = max(1, slots // 2)
        self._scarce_until_s = float("-inf")

    def closed_s(self) -> float:
        """Seconds until it makes sense to pull; 0: now."""
        now_s = loop_now_s()
        all_open = self._availability.all_open(self._chain, now_s)
        most = min(self._most_waiting, _FOR_TRIALS) if all_open else self._most_waiting
        if self._waiting.number(self._role, self._lane) >= most:
            closed_s = _WAITING_S
        else:
            last_resort = all_open and self._makes_trials(now_s)
            closed_s = (
                self._handover.pause_s(self._role, now_s)
                or self._useless_s(now_s)
                or self._availability.opens_in_s(self._chain, now_s, self._lane, last_resort=last_resort)
            )
        if closed_s > 0:
            self._scarce_until_s = now_s + closed_s + _SCARCE_S
        if self._lane == "interactive":
            self._tiers.gate(self._role, closed_s, now_s)
        return closed_s

    def _useless_s(self, now_s: float) -> float:
        """While this worker can call no model of the chain, the work is left to one that can."""
        useless = all(self._availability.is_unusable_here(model, now_s) for model in self._chain)
        return _WAITING_S if useless and self._handover.possible(self._role, now_s) else 0.0

    def _makes_trials(self, now_s: float) -> bool:
        """A worker that has had no answer lately leaves the work to one that can serve it."""
        return self._availability.answers_lately(self._chain, now_s) or not self._handover.possible(
            self._role, now_s
        )

    def at_most(self, running: int) -> int:
        """How many may be in hand, with `running` there now.

        Where quota is scarce, a few more than have it: what waits in one worker's hands is passed over by what comes to
        another worker later.
        """
        waiting, now_s = self._waiting.number(self._role, self._lane), loop_now_s()
        if waiting:
            self._scarce_until_s = max(self._scarce_until_s, now_s + _SCARCE_S)
        if self._availability.all_open(self._chain, now_s):
            return min(self._slots, running - waiting + _FOR_TRIALS)
        if now_s >= self._scarce_until_s:
            return self._slots
        return min(self._slots, running - waiting + _A_FEW)
