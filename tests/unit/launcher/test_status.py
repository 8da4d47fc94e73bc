"""What `penstock status` says of presence and queues."""

from __future__ import annotations

from schemas.presence import BreakerStatus, LimitStatus, Presence, RoleStatus
from services.launcher.status_report import Streams, fold
from services.launcher.status_text import status_text

NOW_MS = 1_000_000_000


def worker(instance: str, silent_ms: int = 1000, **more) -> Presence:
    return Presence(
        service="worker",
        instance=instance,
        at_ms=NOW_MS - silent_ms,
        http=f"http://127.0.0.1/{instance}",
        roles=(RoleStatus(role="coding", slots=16, running=3),),
        **more,
    )


def test_nothing_alive_is_said_plainly():
    text = status_text(fold("nats://here", [], Streams(), NOW_MS))

    assert "Nothing is alive" in text
    assert "penstock up" in text


def test_workers_of_a_role_are_added_up_and_queues_shown_per_lane():
    streams = Streams(
        work={
            "llm.work.coding.batch.0.a7c": 3,
            "llm.work.coding.batch.2.a7c": 4,
            "llm.work.chat.interactive.0.000": 2,
            "llm.work.chat": 9,
        },
        dead=5,
        waiting_for_router=1,
    )

    status = fold("nats://here", [worker("w1"), worker("w2")], streams, NOW_MS)
    text = status_text(status)

    coding = next(line for line in status.roles if line.role == "coding")
    assert (coding.workers, coding.running, coding.slots) == (2, 6, 32)
    assert coding.queued == {"interactive": 0, "batch": 7}
    chat = next(line.split() for line in text.splitlines() if line.startswith("chat"))
    assert chat == ["chat", "none", "0/0", "2", "0"], "work without a worker must be seen"
    assert "Dead letters: 5" in text
    assert "Waiting for a router: 1" in text


def test_limits_breakers_and_withdrawn_models_are_told():
    presence = worker(
        "w1",
        limits=(
            LimitStatus(credential="k", model="m1", limit="requests_per_minute", used=27, allowed=30),
            LimitStatus(credential="k", model="m2", limit="tokens_per_day", used=0, allowed=1000),
        ),
        breakers=(BreakerStatus(model="m3", state="open", retry_at_ms=NOW_MS + 42_000),),
        withdrawn=("m4",),
    )

    text = status_text(fold("nats://here", [presence], Streams(), NOW_MS))

    assert "90 %" in text
    assert "m2" not in text, "an unused limit only counts"
    assert "1 more limits" in text
    assert "Breaker open: m3 at w1, tried again in 42 s" in text
    assert "Not listed by their provider: m4" in text


def test_a_service_that_went_silent_is_marked():
    silent = Presence(service="router", instance="r1", at_ms=NOW_MS - 12_000)

    assert "silent for 12 s" in status_text(fold("nats://here", [silent], Streams(), NOW_MS))


def test_a_worker_that_died_is_named_and_counts_for_nothing():
    breakers = (BreakerStatus(model="m3", state="open", retry_at_ms=NOW_MS + 42_000),)
    limits = (LimitStatus(credential="k", model="m1", limit="concurrency", used=3, allowed=4),)
    dead = worker("w1", 7_000, breakers=breakers, limits=limits, withdrawn=("m4",))

    status = fold("nats://here", [dead, worker("w2", 5_900)], Streams(), NOW_MS)

    coding = next(line for line in status.roles if line.role == "coding")
    assert (coding.workers, coding.running, coding.slots) == (1, 3, 16)
    assert (status.breakers, status.limits, status.withdrawn) == ((), (), ())
    assert [service.alive for service in status.services] == [False, True]
    assert "silent for 7 s" in status_text(status)
