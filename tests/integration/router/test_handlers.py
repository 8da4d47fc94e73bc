"""A router reads the body of a large request without stopping its event loop (issue 9)."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from nats.aio.client import Client as Nats

from penstock.bus.connection import ConnectionEvents
from penstock.bus.large_bodies import BodyUpload, delete_body, reference_to
from penstock.bus.tracing import NO_TRACER
from penstock.contract.names import Kind
from penstock.contract.subjects import ReplyAddress
from penstock.runtime.epochs import DeliveryEpochs
from penstock.runtime.service import Bus
from services.router import handlers
from services.router.handlers import RequestHandler, RouterTelemetry
from services.router.routing.bodies import BodyFeatures, extract_stored_features
from services.router.routing.features import Features
from services.router.routing.outcome import BodyNeeded

BODY = b'{"messages":[{"role":"user","content":"hello"}]}'


async def test_d9_the_features_of_a_stored_body_are_extracted_in_a_thread(
    provisioned: Nats, unique: str, monkeypatch: pytest.MonkeyPatch
):
    threads = []

    def extract(kind: Kind, body: bytes) -> BodyFeatures:
        threads.append(threading.current_thread())
        return extract_stored_features(kind, body)

    monkeypatch.setattr(handlers, "extract_stored_features", extract)
    nc = provisioned
    part: Any = None  # not used here
    bus = Bus(nc, nc.jetstream(), ConnectionEvents(), DeliveryEpochs(nc))
    handler = RequestHandler(bus, part, part, part, part, RouterTelemetry(part, NO_TRACER))
    address = ReplyAddress("demo", "client", unique)
    await BodyUpload(nc, address).store(BODY, timeout_s=5)
    features = await handler._features(BodyNeeded(address, await reference_to(BODY)))
    assert isinstance(features, Features)
    assert features.text == "hello"
    assert threads != [threading.main_thread()]
    await delete_body(nc, address)
