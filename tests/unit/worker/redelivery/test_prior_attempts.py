"""F2: what a lost worker had sent."""

from __future__ import annotations

from msgspec import Raw

from penstock.contract.reply import Delta, first_seq
from services.worker.redelivery.prior_attempts import fold_events


def test_f2_the_output_of_each_attempt_is_counted_in_bytes():
    said = [(1, "вода", ()), (1, "long", ()), (2, "", (Raw('"ж"'.encode()),))]
    events = [
        Delta(id="1", seq=first_seq(attempt) + place, attempt=attempt, text=text, choices=choices)
        for place, (attempt, text, choices) in enumerate(said, 1)
    ]
    assert fold_events(events).bytes_out == {1: 12, 2: 4}
