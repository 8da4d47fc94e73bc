"""Whether a request that this worker cannot serve now goes back into the queue, where another worker takes it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Final

from penstock.contract.names import Role
from services.worker.execution.state import Job
from services.worker.models.availability import Availability
from services.worker.models.choose import Standing
from services.worker.models.peers import Peers

__all__ = ["Handover", "held_back_here"]

_SPARE_DELIVERIES: Final = 2
"""Deliveries that handing back leaves to a request; the rest of `max_deliver` is for workers that die."""
_PAUSE_S: Final = 2.0
"""How long a worker takes nothing more of a role after it handed a request back, so that the others take it."""
_LISTENS_S: Final = 0.5
"""A request that comes from another worker is kept for this long at least: by then that one has said what it can call,
so that two that can serve nothing do not send it to and fro."""


def held_back_here(
    job: Job, standings: Mapping[str, Standing], availability: Availability, now_s: float
) -> frozenset[str]:
    """The models that only this worker cannot call now, as far as it knows. What all share, such as quota, holds back
    none of them. None at all while the request pauses after a failed call: another worker would not keep the pause, and
    the attempts would be used up on a provider that is restarting.
    """

    def is_here(model: str, standing: Standing) -> bool:
        match standing.reason:
            case "breaker" | "withdrawn" | "credentials":
                return True
            case "excluded":
                return model in job.excluded_here
            case "backoff":
                return availability.unreachable.is_out_of_reach(availability.providers[model], now_s) or (
                    model == job.unheard and job.delivery == 1
                )
        return False

    here = frozenset(model for model, standing in standings.items() if is_here(model, standing))
    pauses = any(each.reason == "backoff" and model not in here for model, each in standings.items())
    return frozenset() if pauses else here


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

    def wanted(self, job: Job, models: Collection[str], now_s: float) -> bool:
        """Whether `job`, which no model may be called for now, is handed back: where another worker can call one of
        `models`, which only this one cannot, as often as its deliveries allow.
        """
        return (
            bool(models)
            and job.delivery <= self._most
            and self._peers.can_serve(job.work.role, now_s, models)
        )

    def listens_until_s(self, job: Job) -> float:
        """Until when `job` is kept for news of the other workers."""
        return job.opened_s + _LISTENS_S if job.delivery > 1 else job.opened_s

    def handed_back(self, role: Role, now_s: float, *, pauses: bool = True) -> None:
        if pauses:
            self._paused_until_s[role] = now_s + _PAUSE_S
        for listener in self._listeners:
            listener()

    def pause_s(self, role: Role, now_s: float) -> float:
        """For how long nothing more of `role` is taken: not while no other worker can serve it."""
        left_s = self._paused_until_s.get(role, now_s) - now_s
        return left_s if left_s > 0 and self._peers.can_serve(role, now_s) else 0.0
