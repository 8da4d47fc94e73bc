"""J1: one trace over all hops; disabled tracing costs nothing and forwards a foreign trace."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from penstock.bus.trace_names import ERROR_TYPE
from penstock.bus.tracing import NO_SPAN, NO_TRACER, is_traceparent
from penstock.runtime.telemetry.opentelemetry import OtelTracer
from penstock.runtime.telemetry.trace_file import FileSpanExporter, read_spans

ROOT = Path(__file__).parents[4]
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
FOREIGN = f"00-{TRACE}-{SPAN}-01"
HOSTILE = [
    "",
    "00",
    FOREIGN.upper(),
    FOREIGN + "-more",
    FOREIGN[:-1],
    FOREIGN + "\r\nNats-Msg-Id: stolen",
    FOREIGN + "\n",
    FOREIGN.replace("-", "_"),
    f"ff-{TRACE}-{SPAN}-01",
    f"00-{'0' * 32}-{SPAN}-01",
    f"00-{TRACE}-{'0' * 16}-01",
    f"00-{TRACE}-{SPAN}-zz",
    f"00-{TRACE[:-1]}٣-{SPAN}-01",
    "00-" * 100_000,
    "\x00",
]


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracer(exporter):
    tracer = OtelTracer(exporter, service="penstock-test", instance="t-1")
    yield tracer
    tracer.close()


def exported(tracer: OtelTracer, exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    tracer._provider.force_flush()
    return {span.name: span for span in exporter.get_finished_spans()}


def test_tracing_that_is_off_makes_no_objects():
    first = NO_TRACER.start("a", "client", attributes={"k": 1})
    assert first is NO_SPAN
    assert NO_TRACER.start("b", "server") is first
    first.set("k", "v")
    first.end(error="boom")
    assert first.traceparent is None


def test_tracing_that_is_off_passes_a_foreign_trace_on():
    assert NO_TRACER.start("a", "consumer", parent=FOREIGN).traceparent == FOREIGN


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_an_invalid_traceparent_is_neither_used_nor_forwarded(text: str, tracer, exporter):
    assert not is_traceparent(text)
    assert NO_TRACER.start("a", "consumer", parent=text) is NO_SPAN
    span = tracer.start("hostile", "consumer", parent=text)
    span.end()
    assert is_traceparent(span.traceparent)
    assert exported(tracer, exporter)["hostile"].parent is None


@given(text=st.text() | st.from_regex(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", fullmatch=True))
def test_an_accepted_traceparent_is_a_valid_header_value(text: str):
    if is_traceparent(text):
        assert len(text) == 55
        assert text.isascii()
        assert text.isprintable()


def test_a_process_that_traces_nothing_does_not_load_the_sdk():
    program = """
import sys
import penstock.client.client
from penstock.runtime.config.settings import Settings
from penstock.runtime.telemetry.setup import make_tracer
from penstock.bus.tracing import NO_TRACER
assert make_tracer(Settings(), service="s", instance="i") is NO_TRACER
loaded = [name for name in sys.modules if name.startswith(("opentelemetry.sdk", "opentelemetry.exporter"))]
sys.exit(", ".join(loaded) or None)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_each_hop_is_the_child_of_the_one_before(tracer, exporter):
    client = tracer.start("client", "client", parent=FOREIGN)
    router = tracer.start("router", "consumer", parent=client.traceparent)
    worker = tracer.start(
        "worker", "consumer", parent=router.traceparent, attributes={"penstock.role": "chat"}
    )
    for span in (worker, router, client):
        span.end()
    spans = exported(tracer, exporter)
    assert {f"{span.context.trace_id:032x}" for span in spans.values()} == {TRACE}
    assert f"{spans['client'].parent.span_id:016x}" == SPAN
    assert spans["router"].parent.span_id == spans["client"].context.span_id
    assert spans["worker"].parent.span_id == spans["router"].context.span_id
    assert spans["worker"].attributes == {"penstock.role": "chat"}


def test_spans_without_a_parent_start_new_traces(tracer, exporter):
    for name in ("one", "two"):
        tracer.start(name, "internal").end()
    spans = exported(tracer, exporter)
    assert spans["one"].context.trace_id != spans["two"].context.trace_id
    assert spans["one"].parent is None


def test_a_trace_that_is_not_sampled_at_its_root_stays_so(tracer, exporter):
    span = tracer.start("quiet", "consumer", parent=f"00-{TRACE}-{SPAN}-00")
    span.end()
    assert exported(tracer, exporter) == {}
    assert span.traceparent.startswith(f"00-{TRACE}-")
    assert span.traceparent.endswith("-00")


def test_an_error_and_a_queue_wait_are_recorded(tracer, exporter):
    tracer.start("wait", "consumer", start_ns=1_000).end(error="overloaded")
    span = exported(tracer, exporter)["wait"]
    assert span.start_time == 1_000
    assert span.attributes[ERROR_TYPE] == "overloaded"
    assert not span.status.is_ok


def test_spans_in_a_file_can_be_read_back(tmp_path: Path):
    path = tmp_path / "deep" / "spans.jsonl"
    tracer = OtelTracer(FileSpanExporter(path), service="penstock-router", instance="r-1")
    tracer.start("route", "consumer", parent=FOREIGN, attributes={"n": 1, "names": ["a", "b"]}).end(
        error="late"
    )
    tracer.close()
    with path.open("ab") as file:
        file.write(b'{"half": ')
    (span,) = read_spans(path)
    assert (span.trace_id, span.parent_id, span.name, span.kind) == (TRACE, SPAN, "route", "consumer")
    assert (span.service, span.error) == ("penstock-router", True)
    assert span.attributes == {"n": 1, "names": ["a", "b"], ERROR_TYPE: "late"}
