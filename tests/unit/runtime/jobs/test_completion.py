"""D6: the answer of a job that is put together from its stored replies is whole, or there is none."""

from __future__ import annotations

import random

import pytest

from penstock.contract.reply import Completed, Delta, ReplyEvent, Started, first_seq
from penstock.runtime.jobs.completion import _answer

FIRST = first_seq(2)
END = Completed(id="1", seq=FIRST + 4, attempt=2, role="chat", model="m", provider="p", finish_reason="stop")


def reply_events() -> list[ReplyEvent]:
    begun = [
        Started(id="1", seq=first_seq(n), attempt=n, model="m", provider="p", worker="w", at_ms=1)
        for n in (1, 2)
    ]
    other = Delta(id="1", seq=first_seq(1) + 1, attempt=1, text="of another attempt")
    deltas = [Delta(id="1", seq=FIRST + 1 + n, attempt=2, text=text) for n, text in enumerate("abc")]
    return [begun[0], other, begun[1], *deltas, END]


def test_d6_an_answer_is_joined_in_order_without_duplicates():
    events = reply_events()
    repeated = [*events, *events[2:5]]
    random.Random(1).shuffle(repeated)
    for each in (events, repeated):
        answer = _answer(END, each)
        assert answer is not None
        assert answer.text == "abc"


@pytest.mark.parametrize("missing", [2, 3, 4, 5])
def test_d6_an_answer_with_a_missing_piece_is_not_returned(missing: int):
    events = reply_events()
    del events[missing]
    assert _answer(END, events) is None
