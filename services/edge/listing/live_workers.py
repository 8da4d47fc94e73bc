"""Live workers and their roles, from their heartbeats."""

from __future__ import annotations

from typing import Final

from penstock.contract.presence import Presence
from penstock.runtime.membership import Membership

__all__ = ["LiveWorkers"]

_TTL_S: Final = 10.0
"""Five heartbeats."""


class LiveWorkers(Membership):
    """The members are workers. One that says that it stops is gone at once."""

    def __init__(self) -> None:
        super().__init__(ttl_s=_TTL_S)

    def observe(self, instance: str, presence: Presence | None, now_s: float) -> None:
        """None: the instance has stopped."""
        self.record_activity(now_s)
        if presence is None:
            self.forget(instance)
        elif presence.roles:
            roles = [status.role for status in presence.roles]
            self.record_heartbeat(instance, roles, now_s, presence.withdrawn_models)
