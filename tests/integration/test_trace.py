"""J1: one trace per request, with the right parents, as an OTLP endpoint receives it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import nats
from nats.aio.msg import Msg

from penstock.runtime.config.settings import load_settings
from penstock.runtime.telemetry.setup import make_tracer
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.fake_indexer import FakeIndexer, found
from tests.harness.processes.system import System, running_system
from tests.harness.records.otlp import OtlpEndpoint, ReceivedSpan, otlp_endpoint

CLIENT, CONSUMER, PRODUCER = 3, 5, 4


def the(spans: list[ReceivedSpan], name: str) -> ReceivedSpan:
    (found,) = [span for span in spans if span.name.startswith(name)]
    return found


async def ask(
    system: System, endpoint: OtlpEndpoint, monkeypatch, role: str, rag: str | None = None
) -> list[ReceivedSpan]:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.url)
    settings = load_settings({"PENSTOCK_TRACES": "otlp"})
    tracer = make_tracer(settings, service="penstock-client", instance="test")
    async with await system.client(tracer=tracer) as client:
        stream = client.stream("Where does the water go?", role=role, rag=rag)
        events = [event async for event in stream]
        assert events[-1].__struct_config__.tag == "completed"
        return_id = stream.id
    await asyncio.to_thread(tracer.close)
    attempts = events[-1].attempt
    return await endpoint.trace(return_id, spans=5 + attempts + (rag is not None))


async def test_h3_j1_the_trace_has_the_retrieval_between_worker_and_model(tmp_path: Path, monkeypatch):
    async with otlp_endpoint() as endpoint:
        env = {"PENSTOCK_TRACES": "otlp", "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint.url}
        config = catalogue(retrieval={"wait_s": 5})
        async with (
            running_system(tmp_path, "chat", config=config, env=env) as system,
            FakeIndexer.running(system.nats.url) as indexer,
        ):
            indexer.answer = lambda _: found("The water goes to the river.", "It comes from the hills.")
            spans = await ask(system, endpoint, monkeypatch, "chat", rag="docs")
            (search,) = indexer.headers
    retrieval, worker = the(spans, "retrieval"), the(spans, "process ")
    assert retrieval.parent_id == worker.span_id
    assert search["traceparent"].split("-")[1:3] == [retrieval.trace_id, retrieval.span_id]
    assert retrieval.attributes["penstock.retrieval.collection"] == "docs"
    assert retrieval.attributes["penstock.retrieval.kind"] == "passages"
    assert int(retrieval.attributes["penstock.retrieval.passages"]) == 2
    assert float(retrieval.attributes["penstock.retrieval.best_score"]) == 0.9
    assert not any("water" in str(value) for value in retrieval.attributes.values())


async def test_j1_one_trace_holds_every_hop_with_its_parent(tmp_path: Path, monkeypatch):
    config = catalogue({"chat": ["m-broken--503", "m-healthy"]}, role={"retry": {"same_model_retries": 0}})
    async with otlp_endpoint() as endpoint:
        env = {"PENSTOCK_TRACES": "otlp", "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint.url}
        async with running_system(tmp_path, "chat", config=config, env=env) as system:
            spans = await ask(system, endpoint, monkeypatch, "chat")

    client = the(spans, "penstock chat")
    logged = "".join(log.read_text() for log in tmp_path.rglob("worker*.log"))
    assert f'"trace_id":"{client.trace_id}"' in logged, "J4: the line of the request has its trace id"
    router = the(spans, "route ")
    wait = the(spans, "wait ")
    worker = the(spans, "process ")
    first = the(spans, "chat m-broken--503")
    second = the(spans, "chat m-healthy")
    reply = the(spans, "send ")
    assert len(spans) == 7
    assert client.parent_id == ""
    assert router.parent_id == client.span_id
    assert wait.parent_id == worker.parent_id == router.span_id
    assert first.parent_id == second.parent_id == reply.parent_id == worker.span_id
    assert [client.service, router.service, worker.service] == [
        "penstock-client",
        "penstock-router",
        "penstock-worker",
    ]
    assert (client.kind, router.kind, worker.kind, first.kind, reply.kind) == (
        CLIENT,
        CONSUMER,
        CONSUMER,
        CLIENT,
        PRODUCER,
    )
    assert wait.end_ns <= worker.start_ns + 1_000_000
    assert wait.start_ns >= router.start_ns
    assert first.attributes["error.type"] == "server_error"
    assert second.attributes["gen_ai.operation.name"] == "chat"
    assert second.attributes["gen_ai.provider.name"] == "simulator"
    assert second.attributes["gen_ai.response.finish_reasons"] == ["stop"]
    assert second.attributes["gen_ai.usage.output_tokens"] == 40
    assert [first.attributes["penstock.attempt"], second.attributes["penstock.attempt"]] == [1, 2]
    assert not any("water" in str(span.attributes) for span in spans), (
        "spans contain content only if configured"
    )


async def test_j1_disabled_tracing_exports_nothing_and_forwards_a_foreign_trace(tmp_path: Path):
    foreign = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    received: list[str | None] = []

    async def listen(msg: Msg) -> None:
        received.append((msg.headers or {}).get("traceparent"))

    async with otlp_endpoint() as endpoint:
        env = {"PENSTOCK_TRACES": "off", "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint.url}
        async with running_system(tmp_path, "chat", env=env) as system:
            nc = await nats.connect(system.nats.url)
            await nc.subscribe("llm.reply.demo.raw.*", cb=listen)
            body = b'{"id": "r1", "client": "raw", "body": {"messages": [{"role": "user", "content": "Hi"}]}}'
            await nc.jetstream().publish("llm.request.demo.chat", body, headers={"traceparent": foreign})
            async with asyncio.timeout(20):
                while len(received) < 3:
                    await asyncio.sleep(0.02)
            await nc.close()
    assert received == [foreign] * 3, "accepted, started, completed"
    assert endpoint.spans == []
