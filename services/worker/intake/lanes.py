"""The lanes of a role, and the slots that each may use (REQUIREMENTS C6)."""

from __future__ import annotations

from msgspec import Struct

from penstock.contract.names import Lane, Role
from penstock.runtime.config.catalogue import RoleConfig

__all__ = ["RoleLane", "batch_slots", "lane_of"]


class RoleLane(Struct, frozen=True):
    """One lane of a role, which has its own mailbox and slots."""

    role: Role
    lane: Lane
    chain: tuple[str, ...]
    slots: int


def lane_of(role: Role, lane: Lane, config: RoleConfig) -> RoleLane:
    slots = config.concurrency if lane == "interactive" else config.batch_concurrency
    return RoleLane(role, lane, config.chain, slots)


def batch_slots(batch: int, *, interactive: int, running: int) -> int:
    """How many of the `batch` slots may be used while `running` of the `interactive` ones are taken.

    Batch work has its own slots, so it never takes an interactive one. While all interactive slots are taken, requests
    may be waiting for them, and batch work proceeds one request at a time.
    """
    return batch if running < interactive else min(batch, 1)
