"""The consumer of the router that receives the requests of an account."""

from __future__ import annotations

from penstock.contract.intake.subjects import INTAKE_QUEUES
from penstock.contract.streams import INTAKE_BATCH, INTAKE_INTERACTIVE, Consumer

__all__ = ["accounts_apart", "intake_of"]

_INTERACTIVE = INTAKE_INTERACTIVE[-INTAKE_QUEUES:]


def intake_of(account: str, lane: str = "interactive") -> Consumer:
    queues = INTAKE_BATCH if lane == "batch" else _INTERACTIVE
    return queues[_partition(account) % len(queues)]


def accounts_apart(count: int) -> list[str]:
    """So many accounts, each in an interactive queue of its own."""
    found: dict[str, str] = {}
    number = 0
    while len(found) < count:
        found.setdefault(intake_of(f"account{number}").durable, f"account{number}")
        number += 1
    return list(found.values())


def _partition(account: str) -> int:
    """The hash of `partition` in a subject transform of nats-server: FNV-1a of 32 bits."""
    value = 0x811C9DC5
    for byte in account.encode():
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    return value
