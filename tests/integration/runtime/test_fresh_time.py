"""The clock of the server is read again where a deadline depends on it."""

from __future__ import annotations

from nats.aio.client import Client as Nats

from penstock.bus.clock import ServerTime
from penstock.contract.streams import REQUESTS
from penstock.runtime.server_time_reader import FreshTime, read_server_time

HOUR_NS = 3_600_000_000_000


async def after_a_step(nc: Nats) -> ServerTime:
    """As known by a process that read an hour more, and has not read since the clock stepped back to what it is."""
    known = ServerTime()
    await read_server_time(nc, known, REQUESTS.name)
    now_ns = known.now_ns()
    known.observe(known.unix_ns() + HOUR_NS, now_ns, now_ns)
    return known


async def test_c3_a_stamp_of_before_the_last_step_is_new_where_a_reading_tells_so(provisioned: Nats) -> None:
    known, reference = await after_a_step(provisioned), ServerTime()
    await read_server_time(provisioned, reference, REQUESTS.name)
    written_ms = reference.unix_ms()
    await FreshTime(provisioned, known).read_if_passed(written_ms + 60_000, since_ms=written_ms)
    assert abs(known.unix_ms() - reference.unix_ms()) < 1_000


async def test_c3_a_deadline_that_is_not_over_by_a_known_stamp_costs_no_reading(provisioned: Nats) -> None:
    known = await after_a_step(provisioned)
    shown_ms = known.unix_ms()
    since_ms = shown_ms + 5  # after the step by more than the rounding
    await FreshTime(provisioned, known).read_if_passed(since_ms + 60_000, since_ms=since_ms)
    assert known.unix_ms() >= shown_ms, "the hour more that only another reading would take back"
