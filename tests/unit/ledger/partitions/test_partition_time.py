"""F1, F3: the time of the ledger, while clocks step."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import given

from penstock.bus.clock import ServerTime
from services.ledger.partitions.partition_time import PartitionTime

NOON_MS = 1_795_953_600_000
MS = 1_000_000
HOUR_MS = 3_600_000


class Clocks:
    """The server's clock, and the monotonic one of this process."""

    def __init__(self) -> None:
        self.server_ms = NOON_MS
        self.elapsed_ms = 5_000
        self.server = ServerTime(lambda: self.elapsed_ms * MS)
        self.read()

    def read(self) -> None:
        self.server.observe(self.server_ms * MS, self.elapsed_ms * MS, self.elapsed_ms * MS)

    def pass_ms(self, passed_ms: int) -> None:
        self.server_ms += passed_ms
        self.elapsed_ms += passed_ms

    def step_ms(self, step_ms: int) -> None:
        self.server_ms += step_ms
        self.read()


def test_f1_time_is_that_of_the_server_between_two_readings():
    clocks = Clocks()
    clocks.pass_ms(9_000)
    assert clocks.server.unix_ms() == NOON_MS + 9_000


def test_f1_the_time_of_a_partition_follows_a_step_ahead():
    clocks = Clocks()
    time = PartitionTime(clocks.server, NOON_MS - 1)
    clocks.step_ms(HOUR_MS)
    assert time.now_ms() == NOON_MS + HOUR_MS


def test_f3_time_goes_on_after_the_clock_stepped_ahead_and_back():
    clocks = Clocks()
    time = PartitionTime(clocks.server, NOON_MS)
    clocks.step_ms(HOUR_MS)
    ahead_ms = time.now_ms()
    clocks.step_ms(-HOUR_MS)
    assert time.now_ms() == ahead_ms
    clocks.pass_ms(67_000)
    assert time.now_ms() >= ahead_ms + 60_000
    clocks.pass_ms(10 * HOUR_MS)
    assert time.now_ms() == clocks.server_ms


def test_f3_a_new_owner_goes_on_from_the_last_entry_of_the_journal():
    clocks = Clocks()
    time = PartitionTime(clocks.server, NOON_MS + HOUR_MS)
    assert time.now_ms() == NOON_MS + HOUR_MS
    clocks.pass_ms(10_000)
    assert time.now_ms() == NOON_MS + HOUR_MS + 9_000


@given(st.lists(st.tuples(st.integers(0, 100_000), st.integers(-HOUR_MS, HOUR_MS))))
def test_f3_time_never_goes_back_and_never_stands_still(moves: list[tuple[int, int]]):
    clocks = Clocks()
    time = PartitionTime(clocks.server, NOON_MS)
    before_ms = time.now_ms()
    for passed_ms, step_ms in moves:
        clocks.pass_ms(passed_ms)
        clocks.step_ms(step_ms)
        now_ms = time.now_ms()
        assert now_ms >= before_ms + passed_ms * 9 // 10
        before_ms = now_ms
