"""Whether a request that this worker cannot serve now returns to its mailbox, where another worker takes it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final

from penstock.contract.names import Role
from services.worker.models.peers import Peers

__all__ = ["HandBackPolicy"]

_SPARE_DELIVERIES: Final = 2
"""Deliveries of a request that are not used for handing it back; they are left for workers that die."""
_PAUSE_S: Final = 2.0
"""Seconds for which a worker pulls nothing more of a role after it handed a request back, so that the others pull."""
_KEEPS_S: Final = 0.5
"""Seconds for which a worker keeps a request that came from another worker: by then that worker has reported what
it can call, so that two workers that can serve nothing do not pass the request to and fro."""


class HandBackPolicy:
    """Decides whether to hand a request back. Times are seconds of the loop's clock."""

    def __init__(self, peers: Peers, max_deliver: int, on_hand_back: Callable[[], None]) -> None:
        """`on_hand_back`: called whenever a request is handed back."""
        self._peers = peers
        self._most = max_deliver - _SPARE_DELIVERIES
        self._paused_until_s: dict[Role, float] = {}
        self._on_hand_back = on_hand_back

    def possible(self, role: Role, now_s: float) -> bool:
        """Whether another worker can serve `role`."""
        return self._peers.can_serve(role, now_s)

    def wanted(self, role: Role, delivery: int, models: Collection[str], now_s: float) -> bool:
        """Whether to hand back a request of `role` at its `delivery`: if another worker can call one of `models`, which
        this one cannot call, and deliveries are left for it.
        """
        return bool(models) and delivery <= self._most and self._peers.can_serve(role, now_s, models)

    def keeps_until_s(self, started_s: float, delivery: int) -> float:
        """Until when a request whose execution started at `started_s` stays here for news of the other workers."""
        return started_s + _KEEPS_S if delivery > 1 else started_s

    def record_hand_back(self, role: Role, now_s: float, *, pauses: bool = True) -> None:
        if pauses:
            self._paused_until_s[role] = now_s + _PAUSE_S
        self._on_hand_back()

    def pause_s(self, role: Role, now_s: float) -> float:
        """Seconds for which nothing of `role` is pulled; 0 while no other worker can serve it."""
        left_s = self._paused_until_s.get(role, now_s) - now_s
        return left_s if left_s > 0 and self._peers.can_serve(role, now_s) else 0.0
