"""B3 and B6: the topic of an unclear request, asked within 15 ms."""

from __future__ import annotations

import pytest
from nats.aio.client import Client as Nats
from nats.aio.msg import Msg
from prometheus_client import CollectorRegistry

from penstock.bus.clock import SYSTEM, Clock, loop_now_s
from penstock.contract import codec, subjects
from penstock.contract.guard.checks import Classification
from services.router.classification import topic_client
from services.router.classification.topic_client import TopicClient
from services.router.metrics import RouterMetrics

CODING = Classification(topic="coding", probability=0.9)


def client(nc: Nats, clock: Clock) -> tuple[TopicClient, CollectorRegistry]:
    registry = CollectorRegistry()
    return TopicClient(nc, clock, RouterMetrics(registry)), registry


async def answer(nc: Nats, payload: bytes | None) -> list[bytes]:
    """Subscribe a guard that sends `payload`, or nothing; returns the questions that it received."""
    asked: list[bytes] = []

    async def on_question(msg: Msg) -> None:
        asked.append(msg.data)
        if payload is not None:
            await msg.respond(payload)

    await nc.subscribe(subjects.CLASSIFY, "guard", cb=on_question)
    return asked


async def test_b6_the_classifier_reads_400_characters(own_nc: Nats, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topic_client, "_WAIT_S", 5.0)  # this test is about the question, not about its time
    asked = await answer(own_nc, codec.encode(CODING))
    topics, _ = client(own_nc, SYSTEM)
    assert await topics.classify("я" * 1000) == CODING
    assert codec.CLASSIFY_REQUEST.decode(asked[0]).text == "я" * 400


@pytest.mark.parametrize("payload", [b"", b"{", b"[]", b'{"type":"classification","topic":"cooking"}'])
async def test_b6_an_unreadable_answer_is_none(
    own_nc: Nats, payload: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topic_client, "_WAIT_S", 5.0)
    await answer(own_nc, payload)
    topics, _ = client(own_nc, SYSTEM)
    assert await topics.classify("a b c") is None


async def test_b3_a_slow_classifier_delays_a_request_by_its_bound_and_is_then_left_alone(
    own_nc: Nats,
) -> None:
    asked = await answer(own_nc, None)
    now_s = 1000.0
    topics, registry = client(own_nc, Clock(lambda: now_s, lambda: now_s))
    began_s = loop_now_s()
    for _ in range(20):
        assert await topics.classify("a b c") is None
    assert loop_now_s() - began_s < 1.0  # five waits of 15 ms on a machine that may be busy
    assert registry.get_sample_value(
        "penstock_router_classifications_total", {"answer": "no_answer"}
    ) == pytest.approx(5)
    assert registry.get_sample_value(
        "penstock_router_classifications_total", {"answer": "paused"}
    ) == pytest.approx(15)
    now_s += 11
    assert await topics.classify("a b c") is None
    assert len(asked) == 6


async def test_b3_without_a_guard_a_request_goes_on_at_once(own_nc: Nats) -> None:
    topics, _ = client(own_nc, SYSTEM)
    assert await topics.classify("a b c") is None
