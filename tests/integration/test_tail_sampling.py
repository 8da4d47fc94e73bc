"""J1: an unsampled request that fails or is slow appears whole, with the spans of every process; others do not."""

from __future__ import annotations

import asyncio
from pathlib import Path

import openai
import pytest

from penstock.errors import RequestFailed
from penstock.runtime.config.settings import load_settings
from penstock.runtime.telemetry.setup import make_tracer
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.system import System, running_system
from tests.harness.records.otlp import OtlpEndpoint, otlp_endpoint

UNSAMPLED = {"PENSTOCK_TRACES": "otlp", "PENSTOCK_TRACE_SAMPLE_RATIO": "0"}
CONFIG = catalogue({"coding": ["m-broken--503"]}, role={"retry": {"same_model_retries": 0}})
PROCESSES = {"penstock-router", "penstock-worker"}


async def only_trace(endpoint: OtlpEndpoint, names: set[str]) -> set[str]:
    """The processes with spans in the only trace that is exported, once it has spans of all these names."""
    async with asyncio.timeout(30):
        while not names <= {span.name for span in endpoint.spans}:
            await asyncio.sleep(0.05)
    assert len({span.trace_id for span in endpoint.spans}) == 1
    known = {span.span_id for span in endpoint.spans}
    roots = [span for span in endpoint.spans if span.parent_id not in known]
    assert [span.name for span in roots] == ["penstock chat"], "each other span has its parent"
    return {span.service for span in endpoint.spans}


def names_of(model: str) -> set[str]:
    worker = {f"{kind} llm.work.{{role}}.{{lane}}.{{rank}}.{{flow}}" for kind in ("wait", "process")}
    return {
        "penstock chat",
        "route llm.request.{account}.{kind}",
        "send llm.reply.{account}.{client}.{id}",
        f"chat {model}",
        *worker,
    }


def edge_client(url: str) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(api_key="none", base_url=f"{url}/v1", max_retries=0)


async def ask_edge(ai: openai.AsyncOpenAI, role: str) -> None:
    await ai.chat.completions.create(model=role, messages=[{"role": "user", "content": "Hi"}])


async def test_j1_an_error_at_the_edge_is_exported_whole_at_ratio_0_and_a_fast_success_is_not(tmp_path: Path):
    async with otlp_endpoint() as endpoint:
        env = {**UNSAMPLED, "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint.url}
        async with running_system(tmp_path, config=CONFIG, env=env) as system:
            edge = system.new_edge()
            await edge.start()
            async with edge_client(edge.ready["url"]) as ai:
                await ask_edge(ai, "chat")
                with pytest.raises(openai.InternalServerError):
                    await ask_edge(ai, "coding")
            assert await only_trace(endpoint, names_of("m-broken--503")) == {"penstock-edge", *PROCESSES}
            assert "penstock_tail_traces_chosen_total 1.0" in await system.metrics()


async def slow(system: System, ask: asyncio.Task[None]) -> None:
    """Let the answer wait until the trace of its request is slow."""
    await asyncio.sleep(2)
    assert not ask.done()
    await system.release_answers()
    await ask


async def test_j1_a_slow_request_is_exported_whole_at_ratio_0(tmp_path: Path):
    async with otlp_endpoint() as endpoint:
        env = {**UNSAMPLED, "PENSTOCK_TRACE_SLOW_S": "1", "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint.url}
        async with running_system(tmp_path, config=CONFIG, env=env) as system:
            edge = system.new_edge()
            await edge.start()
            async with edge_client(edge.ready["url"]) as ai:
                await system.hold_answers()
                await slow(system, asyncio.create_task(ask_edge(ai, "chat")))
            assert await only_trace(endpoint, names_of("m-chat")) == {"penstock-edge", *PROCESSES}


async def test_j1_the_client_of_an_application_exports_its_span_of_an_error(tmp_path: Path, monkeypatch):
    """It decides by its own span, and needs no right to read or publish choices."""
    async with otlp_endpoint() as endpoint:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.url)
        env = {**UNSAMPLED, "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint.url}
        tracer = make_tracer(load_settings(UNSAMPLED), service="penstock-client", instance="test")
        async with running_system(tmp_path, config=CONFIG, env=env) as system:
            async with await system.client(tracer=tracer) as client:
                await client.chat("Hi", role="chat")
                with pytest.raises(RequestFailed):
                    await client.chat("Hi", role="coding")
            assert await only_trace(endpoint, names_of("m-broken--503")) == {"penstock-client", *PROCESSES}
        await asyncio.to_thread(tracer.close)
