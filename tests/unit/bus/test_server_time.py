"""The time of the server, from readings with a round trip, while clocks drift and step."""

from __future__ import annotations

import asyncio

import hypothesis.strategies as st
import pytest
from hypothesis import example, given

from penstock.bus.clock import STEP_S, ServerTime, loop_now_s
from tests.harness.suite.virtual_time import run

NOON_NS = 1_795_953_600_000_000_000
MS = 1_000_000
HOUR_MS = 3_600_000


class World:
    """The clock of the server, the wall clock of this machine, and the time elapsed."""

    def __init__(self) -> None:
        self.server_ns = NOON_NS
        self.wall_ns = NOON_NS
        self.elapsed_ns = 5_000 * MS
        self.time = ServerTime(lambda: self.elapsed_ns, lambda: self.wall_ns)

    def pass_ms(self, passed_ms: int) -> None:
        self.server_ns += passed_ms * MS
        self.wall_ns += passed_ms * MS
        self.elapsed_ns += passed_ms * MS

    def read(self, there_ms: int = 0, back_ms: int = 0) -> float:
        asked_ns = self.elapsed_ns
        self.pass_ms(there_ms)
        shown_ns = self.server_ns
        self.pass_ms(back_ms)
        return self.time.observe(shown_ns, asked_ns, self.elapsed_ns)

    @property
    def error_ms(self) -> float:
        return abs(self.time.unix_ns() - self.server_ns) / MS


def test_before_the_first_reading_it_is_the_wall_clock_and_no_offset_is_reported():
    world = World()
    world.wall_ns += 600_000 * MS
    assert not world.time.known
    assert (world.time.unix_ns(), world.time.offset_s) == (world.wall_ns, 0.0)


def test_it_goes_on_between_readings_whatever_the_wall_clock_does():
    world = World()
    world.read()
    world.pass_ms(9_000)
    world.wall_ns -= HOUR_MS * MS
    assert world.error_ms == 0
    assert world.time.offset_s == pytest.approx(-3_600)


def test_a_slow_reading_does_not_replace_a_good_one():
    world = World()
    world.read(1, 1)
    world.pass_ms(5_000)
    assert world.read(0, 400) == 0.0
    assert world.error_ms == 0


def test_a_good_reading_replaces_a_slow_one():
    world = World()
    world.read(0, 400)
    assert world.error_ms == 200
    assert world.read(1, 1) == 0.0
    assert world.error_ms == 0


@pytest.mark.parametrize("step_ms", [HOUR_MS, -HOUR_MS, 600_000, -2_000])
def test_a_step_of_the_server_is_followed_and_told(step_ms: int):
    world = World()
    world.read(1, 1)
    world.server_ns += step_ms * MS
    assert world.read(3, 1) == pytest.approx(step_ms / 1000, abs=0.01)
    assert world.error_ms <= 1


@given(st.lists(st.tuples(st.integers(0, 60_000), st.integers(0, 500), st.integers(0, 500)), min_size=1))
def test_the_error_is_at_most_half_of_the_shortest_round_trip(
    readings: list[tuple[int, int, int]],
):
    world = World()
    for passed_ms, there_ms, back_ms in readings:
        world.pass_ms(passed_ms)
        assert world.read(there_ms, back_ms) == 0.0
        assert world.error_ms <= (there_ms + back_ms) / 2


@pytest.mark.parametrize("step_ms", [HOUR_MS, -HOUR_MS, 600_000, -600_000])
def test_c3_a_step_of_the_server_takes_no_time_from_a_deadline_written_before(step_ms: int):
    world = World()
    world.read(1, 1)
    world.pass_ms(7_000)
    written_ms = world.server_ns / MS
    world.pass_ms(2_000)
    world.server_ns += step_ms * MS
    world.pass_ms(3_000)
    world.read(1, 1)
    written_after_ms = world.server_ns / MS
    world.pass_ms(4_000)
    assert world.time.steady_ms(written_ms) - written_ms == pytest.approx(9_002, abs=2)
    assert world.time.steady_ms(written_after_ms) - written_after_ms == pytest.approx(4_000, abs=2)


@given(
    steps_ms=st.lists(
        st.one_of(st.integers(-2 * HOUR_MS, -20_000), st.integers(20_000, 2 * HOUR_MS)), max_size=4
    ),
    before=st.integers(0, 3),
)
@example(steps_ms=[-20_000, -20_000, 20_000], before=0)
def test_c3_the_age_of_a_time_is_what_elapsed_since_over_any_steps(steps_ms: list[int], before: int):
    """A time that a clock shows again after a step back, or is about to show, may count as the later one, so it is not
    asked for here.
    """
    world = World()
    world.read()
    written_ms = began_ms = 0.0
    shown: list[tuple[float, float]] = []
    for number, step_ms in enumerate([*steps_ms, 0]):
        world.pass_ms(5_000)
        if number == min(before, len(steps_ms)):
            written_ms, began_ms = world.server_ns / MS, world.elapsed_ns / MS
            shown.clear()
        world.pass_ms(1_000)
        world.server_ns += step_ms * MS
        shown.append((world.server_ns / MS, world.server_ns / MS + 6_000))
        world.read()
    if any(since_ms - 7_000 <= written_ms <= until_ms for since_ms, until_ms in shown[:-1]):
        return
    now_ms = world.server_ns / MS
    if now_ms < written_ms <= now_ms + STEP_S * 1_000:
        return
    elapsed_ms = world.elapsed_ns / MS - began_ms
    assert world.time.steady_ms(written_ms) - written_ms == pytest.approx(elapsed_ms, abs=2)


@pytest.mark.parametrize(("ahead_ms", "age_ms"), [(1_001, 18_999), (1_000, 0), (-1_000, 1_000)])
def test_c3_a_time_of_before_a_step_back_counts_until_the_clock_is_about_to_show_it_again(
    ahead_ms: int, age_ms: int
):
    """`ahead_ms`: how far the time is ahead of the clock, which has stepped back by 20 s since it showed the time."""
    world = World()
    world.read()
    world.pass_ms(30_000)
    world.read()
    written_ms = world.server_ns / MS
    world.server_ns -= 20_000 * MS
    world.read()
    world.pass_ms(20_000 - ahead_ms)
    assert world.time.steady_ms(written_ms) - written_ms == pytest.approx(age_ms, abs=1)


def test_a_deadline_counts_from_a_time_that_the_server_shows_before_its_step_is_known():
    world = World()
    world.read()
    world.server_ns += HOUR_MS * MS
    assert world.time.steady_ms(world.server_ns / MS) == world.server_ns / MS


def test_c3_a_time_before_the_last_step_may_also_be_one_after_a_step_that_is_not_known_yet():
    """Without another reading the age of the stamp below counts from the end of the step before: 30 s too much."""
    world = World()
    world.read()
    assert not world.time.is_ambiguous(world.server_ns / MS + HOUR_MS)
    for step_ms in (HOUR_MS, -HOUR_MS):
        world.pass_ms(5_000)
        world.server_ns += step_ms * MS
        world.read()
    assert not world.time.is_ambiguous(world.server_ns / MS)
    assert world.time.is_ambiguous(world.server_ns / MS - 6_000)
    world.pass_ms(30_000)
    world.server_ns += (HOUR_MS - 30_000) * MS
    written_ms = world.server_ns / MS
    assert world.time.steady_ms(written_ms) - written_ms == pytest.approx(30_000, abs=2)
    assert world.time.is_ambiguous(written_ms)
    world.read()
    assert not world.time.is_ambiguous(written_ms)
    assert world.time.steady_ms(written_ms) - written_ms == pytest.approx(0, abs=2)


def test_a_step_is_remembered_for_as_long_as_its_consequences_may_last():
    world = World()
    world.read()
    assert not world.time.stepped_within(10)
    world.server_ns += 600_000 * MS
    world.pass_ms(2_000)
    world.read()
    assert world.time.stepped_within(10)
    world.pass_ms(10_000)
    assert not world.time.stepped_within(10)


def test_the_clock_of_the_running_loop_is_read():
    async def read() -> tuple[float, float]:
        await asyncio.sleep(0.01)
        return loop_now_s(), asyncio.get_running_loop().time()

    for runner in (asyncio.run, run, asyncio.run):
        now_s, loop_s = runner(read())
        assert now_s == pytest.approx(loop_s, abs=0.1)
    with pytest.raises(RuntimeError):
        loop_now_s()


async def test_d1_a_thread_without_a_loop_does_not_read_the_clock_of_another_thread():
    loop_now_s()
    with pytest.raises(RuntimeError):
        await asyncio.to_thread(loop_now_s)
