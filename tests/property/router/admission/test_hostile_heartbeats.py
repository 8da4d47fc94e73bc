"""C3: admission works with any heartbeat, from a newer worker or a hostile client."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from penstock.bus.clock import Clock
from penstock.contract import codec, subjects
from penstock.contract.names import LANES
from penstock.contract.presence import Presence, QuotaForecast, Recovery, RoleStatus
from penstock.runtime.config.catalogue import Batch, RoleConfig
from services.router.admission.capacity import Capacity
from services.router.admission.controller import AdmissionController
from services.router.queues.backlog import Backlog
from tests.harness.requests.routed_requests import chat_work

DEADLINE_MS = 1_000_000_015_000
NUMBERS = (
    st.integers(-5, 5)
    | st.integers(-100_000, 100_000)
    | st.sampled_from([10**18, -(10**18), 10**400, -(10**400)])
)
MAYBE = st.none() | NUMBERS
KINDS = st.sampled_from(["requests_per_minute", "tokens_per_day", "images_per_week", "", "_"])


def structs(kind: type[Any], **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.builds(kind, **fields)


RECOVERIES = structs(
    Recovery,
    limit=KINDS,
    window_ms=NUMBERS,
    allowed=NUMBERS,
    free=NUMBERS,
    returns=st.lists(st.tuples(NUMBERS, NUMBERS), max_size=4).map(tuple),
)
FORECASTS = structs(
    QuotaForecast,
    model=st.sampled_from(["small", "large", "else"]),
    source=st.sampled_from(["record", "own"]),
    paused_ms=NUMBERS,
    breaker_ms=NUMBERS,
    recoveries=st.lists(RECOVERIES, max_size=3).map(tuple),
    concurrency=MAYBE,
    tokens_per_call=NUMBERS,
)
STATUSES = structs(
    RoleStatus,
    role=st.sampled_from(["chat", "logic", "vision"]),
    slots=NUMBERS,
    running=NUMBERS,
    ready_at_ms=NUMBERS,
    batch_slots=NUMBERS,
    calling=NUMBERS,
    ended=NUMBERS,
    service_ms=MAYBE,
    service_p95_ms=MAYBE,
    attempts_per_request=st.floats(allow_nan=False, allow_infinity=False),
)
HEARTBEATS = structs(
    Presence,
    service=st.just("worker"),
    instance=st.sampled_from(["w1", "w2"]),
    at_ms=NUMBERS,
    roles=st.lists(STATUSES, max_size=3).map(tuple),
    forecasts=st.lists(FORECASTS, max_size=3).map(tuple),
)


@given(st.lists(HEARTBEATS, max_size=4), st.integers(0, 50))
def test_c3_no_heartbeat_stops_admission(heartbeats: list[Presence], queued: int) -> None:
    now_s = 1000.0
    capacity = Capacity(
        {"chat": RoleConfig(chain=("small", "large")), "logic": RoleConfig(chain=("large",))}, Batch()
    )
    backlog = Backlog()
    controller = AdmissionController(capacity, backlog, Clock(lambda: now_s, lambda: now_s + 1e9))
    for heartbeat in heartbeats:
        now_s += 0.5
        capacity.observe(heartbeat.instance, codec.PRESENCE.decode(codec.encode(heartbeat)), now_s)
        backlog.begin_count()
        backlog.snapshot({subjects.work("chat", lane, 0, "f"): queued for lane in LANES}, routers=1)
        backlog.counted_s = now_s
        for lane in LANES:
            forecast = controller.forecast(chat_work(lane=lane, deadline_ms=DEADLINE_MS))
            assert forecast.wait_s >= 0
            assert forecast.retry_after_s is None or forecast.retry_after_s > 0
