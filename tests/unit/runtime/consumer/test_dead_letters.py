"""D7: what a dead letter says of the attempts that were made."""

from __future__ import annotations

import json

import msgspec

from penstock.contract.reply import Restarted, Started, first_seq
from penstock.runtime.consumer.dead_letters import history_of


def test_d7_a_history_is_bounded_whatever_was_stored():
    long = "ü" * 5_000
    events = [
        Started(id="1", seq=first_seq(n), attempt=n, model=long, provider=long, worker=long, at_ms=n)
        for n in range(1, 100)
    ] + [
        Restarted(id="1", seq=first_seq(n) + 1, attempt=n, code="internal", message=long)
        for n in range(2, 99)
    ]
    history = history_of(events)
    assert [attempt.attempt for attempt in history.attempts] == list(range(80, 100))
    assert history.left_out == 79
    assert history.attempts[0].outcome == "internal"
    assert history.attempts[-1].outcome == "no end"
    assert len(json.dumps(msgspec.to_builtins(history))) < 8_000, "half of what a letter leaves for headers"
