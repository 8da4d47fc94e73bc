"""What the batch lane of a role may use beside its interactive lane (C6)."""

from __future__ import annotations

__all__ = ["batch_slots"]


def batch_slots(batch: int, *, interactive: int, running: int) -> int:
    """How many of the `batch` slots may be used while `running` of the `interactive` ones are taken.

    Batch work has slots of its own, so it never takes one from interactive work. When interactive work has no slot left
    itself, somebody may be waiting there, and batch work goes on one at a time.
    """
    return batch if running < interactive else min(batch, 1)
