"""J1: the hold at the ledger is part of the trace of its request."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from penstock.runtime.config.settings import load_settings
from penstock.runtime.telemetry.setup import make_tracer
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.system import running_system
from tests.harness.records.otlp import otlp_endpoint


async def test_j1_the_hold_is_a_span_between_the_routers_and_the_ledgers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = catalogue(models={"m-chat": {"price": {"input": 1, "output": 1}}}, budgets={})
    async with otlp_endpoint() as endpoint:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.url)
        env = {"PENSTOCK_TRACES": "otlp", "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint.url}
        tracer = make_tracer(
            load_settings({"PENSTOCK_TRACES": "otlp"}), service="penstock-client", instance="test"
        )
        async with running_system(tmp_path, "chat", config=config, env=env, ledgers=1) as system:
            async with await system.client(tracer=tracer) as client:
                stream = client.stream("Where does the water go?", role="chat")
                async for _ in stream:
                    pass
            await asyncio.to_thread(tracer.close)
            spans = await endpoint.trace(stream.id, spans=8)
    (router,) = (span for span in spans if span.name.startswith("route "))
    (hold,) = (span for span in spans if span.name == "ledger")
    assert (hold.service, hold.parent_id) == ("penstock-router", router.span_id)
    assert hold.attributes["penstock.outcome"] == "granted"
    (answered, *_) = (span for span in spans if span.service == "penstock-ledger")
    assert answered.parent_id == hold.span_id
