"""The text of the ledger's partitions and of a verification."""

from __future__ import annotations

from penstock.cli.render.ledger import ledger_text, verification_text
from services.ledger.verification.positions import PartitionPosition
from services.ledger.verification.report import PartitionFindings, Verification

POSITIONS = [PartitionPosition(partition=name, journal_sequence=7) for name in ("0", "1")]


def test_f2_a_silent_ledger_owns_nothing():
    text = ledger_text(POSITIONS, {"0": "ledger-a"}, {"ledger-b": 9.4}, 0)
    assert "ledger-b is silent for 9 s and owns nothing" in text
    assert text.splitlines()[-1] == "no live ledger owns partition 1"
    assert "no live ledger" not in ledger_text(POSITIONS, {"0": "a", "1": "a"}, {}, 0)


def test_f2_what_cannot_be_compared_anywhere_is_one_line():
    partitions = [PartitionFindings(partition=name, not_compared=["the state"]) for name in ("0", "1")]
    partitions[1].not_compared.append("earlier spend")
    lines = verification_text(Verification(partitions=partitions)).splitlines()
    assert lines[-3:-1] == [
        "not compared in any partition: the state",
        "not compared in partition 1: earlier spend",
    ]


def test_f2_the_result_says_what_was_compared():
    found = PartitionFindings(
        partition="0", batches=5, bookings=4, usage_events=3, history_rows=2, waiting_events=1
    )
    assert verification_text(Verification(partitions=[found])).splitlines()[-1] == (
        "no difference between 5 journal messages with 4 bookings, 3 recorded provider attempts and 2 rows of the "
        "spend history; not booked yet: 1 recorded attempt"
    )
    found.differences.append("one more")
    assert verification_text(Verification(partitions=[found])).splitlines()[-1].startswith("differences")
