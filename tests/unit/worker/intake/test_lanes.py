"""C6: batch work uses what is left, and always goes on."""

from __future__ import annotations

import pytest

from services.worker.intake.lanes import batch_slots


@pytest.mark.parametrize(
    ("running", "allowed"), [(0, 4), (15, 4), (16, 1), (19, 1)], ids=["idle", "one free", "full", "over"]
)
def test_batch_goes_on_one_at_a_time_while_interactive_work_has_no_slot_left_c6(running: int, allowed: int):
    assert batch_slots(4, interactive=16, running=running) == allowed


def test_no_batch_slot_stays_none():
    assert batch_slots(0, interactive=16, running=16) == 0
