"""C6: batch work uses what is left, and always proceeds."""

from __future__ import annotations

import pytest

from services.worker.intake.pull_gate import batch_slots


@pytest.mark.parametrize(
    ("running", "allowed"), [(0, 4), (15, 4), (16, 1), (19, 1)], ids=["idle", "one free", "full", "over"]
)
def test_c6_batch_has_one_slot_while_interactive_has_none_free(running: int, allowed: int):
    assert batch_slots(4, interactive=16, running=running) == allowed


def test_c6_zero_batch_slots_stay_zero():
    assert batch_slots(0, interactive=16, running=16) == 0
