"""F2: every deletion of a batch of the journal is found, and nothing else is taken for one."""

from __future__ import annotations

from itertools import zip_longest

from hypothesis import given
from hypothesis import strategies as st

from penstock.contract.ledger.journal import JournalBatch
from services.ledger.verification.continuity import JournalContinuity

Written = list[tuple[str, bool]]
"""What was written to the stream, by sequence, and whether it was deleted later."""

written = st.lists(
    st.tuples(st.sampled_from(("batch", "other", "probe", "foreign")), st.booleans()), max_size=40
)


@given(written, st.booleans())
def test_f2_the_last_of_each_run_of_deleted_batches_is_found(stream: Written, owner_lives: bool):
    """`other`: of another partition; `foreign`: in the partition, and no ledger wrote it."""
    batches = [sequence for sequence, (kind, _) in enumerate(stream, 1) if kind == "batch"]
    kept = [sequence for sequence, (kind, deleted) in enumerate(stream, 1) if kind != "probe" and not deleted]
    stored_from = kept[0] if kept else len(stream) + 1
    continuity = JournalContinuity()
    for sequence in kept:
        if sequence in batches:
            before = [each for each in batches if each < sequence]
            continuity.add(JournalBatch(entries=(), previous=before[-1] if before else 0), sequence)
        elif stream[sequence - 1][0] == "foreign":
            continuity.add(None, sequence)

    applied = batches[-1] if batches and owner_lives else 0
    found = continuity.missing(applied, stored_from)

    ends_run = [
        batch
        for batch, following in zip_longest(batches, batches[1:])
        if batch not in kept and (following in kept or (following is None and owner_lives))
    ]
    assert found == [batch for batch in ends_run if batch >= stored_from]


def test_f2_a_lost_last_batch_is_found_before_a_message_that_cannot_be_read():
    continuity = JournalContinuity()
    continuity.add(JournalBatch(entries=()), 1)
    continuity.add(None, 3)
    assert continuity.missing(applied=2, stored_from=1) == [2]
    assert continuity.missing(applied=3, stored_from=1) == [], "an owner skips what it cannot read"


@given(written)
def test_f2_probes_and_other_partitions_leave_no_gap(stream: Written):
    continuity, last = JournalContinuity(), 0
    for sequence, (kind, _) in enumerate(stream, 1):
        if kind == "batch":
            continuity.add(JournalBatch(entries=(), previous=last), sequence)
            last = sequence
    assert continuity.missing(last, 1) == []


@given(written, st.integers(1_000, 2_000))
def test_f2_numbers_of_an_earlier_stream_are_no_gap(stream: Written, earlier: int):
    """Batches that name those before them by the numbers of a stream that was deleted."""
    continuity, last = JournalContinuity(), 0
    for sequence, (kind, _) in enumerate(stream, 1):
        if kind == "batch":
            continuity.add(JournalBatch(entries=(), previous=earlier + last), sequence)
            last = sequence
    assert continuity.missing(0, 1) == []
