"""J1: one trace over all hops; disabled tracing costs nothing and forwards a foreign trace."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from penstock.bus.trace_names import ERROR_TYPE
from penstock.bus.tracing import NO_SPAN, NO_TRACER, Kind, is_traceparent
from penstock.runtime.telemetry import spans as spans_module
from penstock.runtime.telemetry.otlp import OtlpExporter
from penstock.runtime.telemetry.recorded_span import RecordedSpan
from penstock.runtime.telemetry.spans import SpanRecorder
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


class KeptSpans:
    """An exporter into a list."""

    def __init__(self) -> None:
        self.batches: list[list[RecordedSpan]] = []
        self.closed = False

    @property
    def spans(self) -> list[RecordedSpan]:
        return [span for batch in self.batches for span in batch]

    def export(self, spans: Sequence[RecordedSpan]) -> None:
        assert not self.closed
        self.batches.append(list(spans))

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def exporter() -> KeptSpans:
    return KeptSpans()


@pytest.fixture
def tracer(exporter):
    tracer = SpanRecorder(exporter)
    yield tracer
    tracer.close()


def exported(tracer: SpanRecorder, exporter: KeptSpans) -> dict[str, RecordedSpan]:
    tracer.close()
    assert exporter.closed
    return {span.name: span for span in exporter.spans}


def test_tracing_that_is_off_makes_no_objects():
    first = NO_TRACER.start("a", "client", attributes={"k": 1})
    assert first is NO_SPAN
    assert NO_TRACER.start("b", "server") is first
    first.set("k", "v")
    first.set_all({"k": "v"})
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
    assert exported(tracer, exporter)["hostile"].parent_id is None


@given(text=st.text() | st.from_regex(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", fullmatch=True))
def test_an_accepted_traceparent_is_a_valid_header_value(text: str):
    if is_traceparent(text):
        assert len(text) == 55
        assert text.isascii()
        assert text.isprintable()


def test_a_process_that_traces_nothing_or_into_a_file_does_not_load_the_sdk():
    program = """
import sys
import penstock.client.client
from penstock.runtime.config.settings import Settings
from penstock.runtime.telemetry.setup import make_tracer
from penstock.bus.tracing import NO_TRACER
assert make_tracer(Settings(), service="s", instance="i") is NO_TRACER
make_tracer(Settings(traces="file", trace_file="/dev/null"), service="s", instance="i").close()
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
    assert {span.trace_id for span in spans.values()} == {TRACE}
    assert spans["client"].parent_id == SPAN
    assert spans["router"].parent_id == spans["client"].span_id
    assert spans["worker"].parent_id == spans["router"].span_id
    assert len({span.span_id for span in spans.values()}) == 3
    assert spans["worker"].attributes == {"penstock.role": "chat"}


def test_spans_without_a_parent_start_new_traces(tracer, exporter):
    for name in ("one", "two"):
        tracer.start(name, "internal").end()
    spans = exported(tracer, exporter)
    assert spans["one"].trace_id != spans["two"].trace_id
    assert spans["one"].parent_id is None


def test_a_trace_that_is_not_sampled_at_its_root_stays_so(tracer, exporter):
    span = tracer.start("quiet", "consumer", parent=f"00-{TRACE}-{SPAN}-00")
    span.end()
    assert exported(tracer, exporter) == {}
    assert span.traceparent.startswith(f"00-{TRACE}-")
    assert span.traceparent.endswith("-00")


def test_an_error_and_a_queue_wait_are_recorded(tracer, exporter):
    tracer.start("wait", "consumer", start_ns=1_000).end(error="overloaded")
    span = exported(tracer, exporter)["wait"]
    assert span.start_ns == 1_000
    assert span.attributes[ERROR_TYPE] == "overloaded"
    assert span.error


def test_attributes_that_are_set_later_are_recorded_beside_the_first(tracer, exporter):
    span = tracer.start("s", "client", attributes={"a": 1, "b": 2})
    span.set("b", 3)
    span.set_all({"c": 4, "d": 5})
    span.end()
    assert exported(tracer, exporter)["s"].attributes == {"a": 1, "b": 3, "c": 4, "d": 5}


def test_a_trace_is_sampled_by_its_id_and_all_its_spans_alike(exporter):
    tracer = SpanRecorder(exporter, sample_ratio=0.25)
    roots = [tracer.start(f"root-{number}", "client") for number in range(2000)]
    for root in roots:
        tracer.start("child", "consumer", parent=root.traceparent).end()
        root.end()
    tracer.close()
    recorded = [root for root in roots if root.traceparent.endswith("-01")]
    assert 400 < len(recorded) < 600
    assert len(exporter.spans) == 2 * len(recorded)
    assert {root.traceparent[3:35] for root in recorded} == {span.trace_id for span in exporter.spans}
    assert all(int(span.trace_id[16:], 16) < 2**62 for span in exporter.spans), "as OpenTelemetry decides"


def test_spans_are_exported_while_the_process_runs(tracer, exporter):
    tracer.start("a", "client").end()
    give_up_s = time.monotonic() + 10
    while not exporter.spans and time.monotonic() < give_up_s:
        time.sleep(0.01)
    assert [span.name for span in exporter.spans] == ["a"]


def test_an_exporter_that_fails_loses_its_batch_only(exporter, monkeypatch, caplog):
    monkeypatch.setattr(spans_module, "_BATCH_SPANS", 2)
    export = exporter.export

    def fails_once(spans: Sequence[RecordedSpan]) -> None:
        monkeypatch.setattr(exporter, "export", export)
        raise OSError("no route to the collector")

    monkeypatch.setattr(exporter, "export", fails_once)
    tracer = SpanRecorder(exporter)
    for number in range(5):
        tracer.start(str(number), "client").end()
    tracer.close()
    assert [[span.name for span in batch] for batch in exporter.batches] == [["2", "3"], ["4"]]
    assert "cannot be exported" in caplog.text


def test_more_spans_than_fit_cost_the_oldest(exporter, monkeypatch, caplog):
    monkeypatch.setattr(spans_module, "_QUEUE_SPANS", 10)
    tracer = SpanRecorder(exporter)
    for number in range(12):
        tracer.start(str(number), "client").end()
    tracer.close()
    assert [span.name for span in exporter.spans] == [str(number) for number in range(2, 12)]
    assert "the oldest are dropped" in caplog.text


def test_spans_are_encoded_as_by_the_encoder_of_opentelemetry(exporter):
    tracer = SpanRecorder(exporter)
    child = tracer.start(
        "chat m-é",
        "client",
        parent=FOREIGN,
        attributes={
            "text": "é",
            "n": -3,
            "share": 0.5,
            "yes": True,
            "no": False,
            "names": ["a", "b"],
            "none": [],
        },
    )
    child.end(error="late")
    for kind in get_args(Kind):
        tracer.start("root", kind, start_ns=1_000).end()
    tracer.close()
    of_service = {"service.name": "penstock-worker", "service.instance.id": "w-1"}
    expected = encode_spans([_readable(span, Resource.create(of_service)) for span in exporter.spans])
    encoded = OtlpExporter(service="penstock-worker", instance="w-1").encoded(exporter.spans)
    assert ExportTraceServiceRequest.FromString(encoded) == expected


def _readable(span: RecordedSpan, resource: Resource) -> ReadableSpan:
    def context(span_id: str, *, is_remote: bool) -> SpanContext:
        return SpanContext(int(span.trace_id, 16), int(span_id, 16), is_remote, TraceFlags(1))

    return ReadableSpan(
        span.name,
        context=context(span.span_id, is_remote=False),
        parent=None if span.parent_id is None else context(span.parent_id, is_remote=True),
        resource=resource,
        attributes=span.attributes,
        kind=SpanKind[span.kind.upper()],
        status=Status(StatusCode.ERROR if span.error else StatusCode.UNSET),
        start_time=span.start_ns,
        end_time=span.end_ns,
        instrumentation_scope=InstrumentationScope("penstock"),
    )


def test_a_full_disk_costs_only_the_spans_that_were_not_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    """The limit on the size of a file stands for the disk: the second span is cut off, the third not written."""
    path = tmp_path / "spans.jsonl"
    finished = KeptSpans()
    tracer = SpanRecorder(finished)
    for name in ("first", "cut off", "not written", "last"):
        tracer.start(name, "consumer").end()
    tracer.close()
    first, cut_off, not_written, last = finished.spans
    exporter = FileSpanExporter(path, service="penstock-router")
    exporter.export([first])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 50, hard))
    try:
        exporter.export([cut_off])
        exporter.export([not_written])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    exporter.export([last])
    assert [span.name for span in read_spans(path)] == ["first", "last"]
    assert caplog.messages == [
        f"the disk of {path} is full; spans are lost",
        f"spans cannot be written to {path} and are lost: File too large",
    ]


def test_j1_a_full_file_is_followed_by_a_new_one_for_all_processes(tmp_path: Path):
    """At most two files are kept, and no span of the last one and the one before is lost."""
    path, finished = tmp_path / "spans.jsonl", KeptSpans()
    tracer = SpanRecorder(finished)
    for number in range(60):
        tracer.start(str(number), "consumer").end()
    tracer.close()
    exporters = [FileSpanExporter(path, service=name, max_bytes=2_000) for name in ("router", "worker")]
    for number, span in enumerate(finished.spans):
        exporters[number % 2].export([span])
    for exporter in exporters:
        exporter.close()
    assert {file.name for file in tmp_path.iterdir()} == {"spans.jsonl", "spans.jsonl.1"}
    assert all(file.stat().st_size < 3_000 for file in tmp_path.iterdir())
    kept = [int(span.name) for span in read_spans(path)]
    assert kept == list(range(60))[-len(kept) :]
    assert len(kept) > 5


def write_spans(exporter: FileSpanExporter, names: range) -> None:
    """One batch for each span."""
    finished = KeptSpans()
    tracer = SpanRecorder(finished)
    for name in names:
        tracer.start(str(name), "consumer").end()
    tracer.close()
    for span in finished.spans:
        exporter.export([span])


@pytest.mark.parametrize("rotated_before", [True, False])
def test_j1_a_reader_during_a_rotation_loses_no_span(tmp_path: Path, *, rotated_before: bool):
    path = tmp_path / "spans.jsonl"
    exporter = FileSpanExporter(path, service="router", max_bytes=2_000)
    write_spans(exporter, range(12))
    assert path.with_name("spans.jsonl.1").exists()
    if not rotated_before:
        path.with_name("spans.jsonl.1").unlink()
    before = list(read_spans(path))
    reading = read_spans(path)
    read = [next(reading)]
    write_spans(exporter, range(12, 20))
    assert [*read, *reading][: len(before)] == before
    exporter.close()


def test_j1_a_reader_between_rename_and_new_file_reads_the_renamed_one(tmp_path: Path):
    path = tmp_path / "spans.jsonl"
    exporter = FileSpanExporter(path, service="router")
    write_spans(exporter, range(3))
    path.rename(path.with_name("spans.jsonl.1"))
    assert [span.name for span in read_spans(path)] == ["0", "1", "2"]
    exporter.close()
    path.with_name("spans.jsonl.1").unlink()
    with pytest.raises(FileNotFoundError):
        list(read_spans(path))


def test_j1_a_file_that_cannot_be_rotated_is_logged_and_does_not_grow(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    """A directory has the name of the earlier file."""
    path, earlier = tmp_path / "spans.jsonl", tmp_path / "spans.jsonl.1"
    (earlier / "x").mkdir(parents=True)
    exporters = [FileSpanExporter(path, service=name, max_bytes=2_000) for name in ("router", "worker")]
    for number in range(60):
        write_spans(exporters[number % 2], range(number, number + 1))
    assert path.stat().st_size < 3_000
    (line,) = caplog.messages
    assert f"{path} has its full size and cannot be rotated" in line
    (earlier / "x").rmdir()
    earlier.rmdir()
    for exporter in exporters:
        write_spans(exporter, range(60, 62))
        exporter.close()
    assert [span.name for span in read_spans(path)][-4:] == ["60", "61", "60", "61"]


def test_j1_spans_that_a_full_disk_drops_are_logged_once(caplog: pytest.LogCaptureFixture):
    exporter = FileSpanExporter(Path("/dev/full"), service="router")
    write_spans(exporter, range(3))
    exporter.close()
    (line,) = caplog.messages
    assert line == "spans cannot be written to /dev/full and are lost: No space left on device"


def test_spans_in_a_file_can_be_read_back(tmp_path: Path):
    path = tmp_path / "deep" / "spans.jsonl"
    tracer = SpanRecorder(FileSpanExporter(path, service="penstock-router"))
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
