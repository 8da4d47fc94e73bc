"""D11: failures count by the number of distinct request contents within a minute."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from services.worker.execution.outcomes import SPAN_S, DistinctContents

KEYS = st.sampled_from(["m", "n"])
CONTENTS = st.integers(0, 5)


class Counting(RuleBasedStateMachine):
    """Compares with a dictionary of contents and the times at which they were counted."""

    def __init__(self) -> None:
        super().__init__()
        self.contents = DistinctContents()
        self.now_s = 1000.0
        self.counted: dict[str, dict[int, float]] = {"m": {}, "n": {}}

    @rule(key=KEYS, content=CONTENTS)
    def is_received(self, key: str, content: int) -> None:
        known = {each: at_s for each, at_s in self.counted[key].items() if self.now_s - at_s < SPAN_S}
        count = self.contents.add(key, content, self.now_s)
        assert count == (0 if content in known else len(known) + 1)
        self.counted[key] = {content: self.now_s, **known}

    @rule(key=KEYS)
    def succeeds(self, key: str) -> None:
        self.contents.clear(key)
        self.counted[key] = {}

    @rule(by_s=st.sampled_from([0.001, 1.0, 29.0, SPAN_S]))
    def time_passes(self, by_s: float) -> None:
        self.now_s += by_s


TestCounting = Counting.TestCase


def test_memory_is_bounded_for_any_number_of_contents() -> None:
    contents = DistinctContents()
    counts = [contents.add("m", content, 0.0) for content in range(10_000)]
    assert counts[:3] == [1, 2, 3]
    assert max(counts) == 64


def test_a_repeated_request_counts_once() -> None:
    contents = DistinctContents()
    assert [contents.add("m", 7, now_s) for now_s in (0.0, 0.2, 1.0, 59.9)] == [1, 0, 0, 0]
    assert contents.add("m", 7, 60.0) == 1
