"""Whether a request that this worker cannot serve now goes back into the queue, where another worker takes it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from schemas.names import Role
from services.worker.candidates import Reason, Standing
from services.worker.job import Job
from services.worker.peers import Peers

__all__ = ["Handover"]

_SPARE_DELIVERIES: Final = 2
"""Deliveries that handing back leaves to a request; the rest of `max_deliver` is for workers that die."""
_PAUSE_S: Final = 2.0
"""How long a worker takes nothing more of a role after it handed a request back, so that the others take it."""
_LASTING: Final[tuple[Reason, ...]] = ("withdrawn", "credentials", "excluded", "never")


class Handover:
    """Instants are the loop's."""

    def __init__(self, peers: Peers, max_deliver: int) -> None:
        self._peers = peers
        self._most = max_deliver - _SPARE_DELIVERIES
        self._paused_until_s: dict[Role, float] = {}
        self._listeners: list[Callable[[], None]] = []

    def on_return(self, listener: Callable[[], None]) -> None:
        """Called when a request is handed back."""
        self._listeners.append(listener)

    def possible(self, role: Role, now_s: float) -> bool:
        """Whether another worker can serve `role`."""
        return self._peers.can_serve(role, now_s)

    def wanted(self, job: Job, standings: Iterable[Standing], now_s: float) -> bool:
        """Whether `job`, which no model may be called for now, is handed back.

        It is where another worker can serve it and only this worker's breakers stand in the way, as often as its
        deliveries allow. On its first delivery it also is where a connection to the provider failed: on the second one
        the provider is away for all workers.
        """
        if job.delivery > self._most or not self._peers.can_serve(job.work.role, now_s):
            return False
        failure = job.last_failure
        cut_off = job.delivery == 1 and failure is not None and not failure.reached
        local: tuple[Reason, ...] = ("breaker", "backoff") if cut_off else ("breaker",)
        reasons = [standing.reason for standing in standings if standing.reason not in _LASTING]
        return bool(reasons) and all(reason in local for reason in reasons)

    def handed_back(self, role: Role, now_s: float) -> None:
        self._paused_until_s[role] = now_s + _PAUSE_S
        for listener in self._listeners:
            listener()

    def pause_s(self, role: Role, now_s: float) -> float:
        """For how long nothing more of `role` is taken: not while no other worker can serve it."""
        left_s = self._paused_until_s.get(role, now_s) - now_s
        return left_s if left_s > 0 and self._peers.can_serve(role, now_s) else 0.0
