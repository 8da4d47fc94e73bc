"""J1: unsampled traces with an error or a slow span are exported, all others are dropped within bounds."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from prometheus_client import CollectorRegistry

from penstock.bus.trace_names import LANE
from penstock.contract.traces.kept import MAX_KEPT_TRACES
from penstock.runtime.telemetry import tail_buffer
from penstock.runtime.telemetry.recorded_span import RecordedSpan
from penstock.runtime.telemetry.spans import SpanRecorder
from penstock.runtime.telemetry.tail_buffer import TailBuffer
from penstock.runtime.telemetry.tail_metrics import register_tail_metrics

SLOW_S = 10.0


class Traced:
    """A buffer on a clock that the test sets, and the spans of its process."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.buffer = TailBuffer(SLOW_S, lambda: self.now_s)

    def begin(self, trace: int, name: str = "span", *, age_s: float = 0.0, lane: str = "") -> RecordedSpan:
        span = RecordedSpan(
            f"00-{trace:032x}-{1:016x}-00",
            None,
            name,
            "internal",
            round((self.now_s - age_s) * 1e9),
            {LANE: lane} if lane else {},
            self.buffer.end,
        )
        self.buffer.begin(span)
        return span

    def end(self, span: RecordedSpan, *, error: bool = False) -> None:
        span.error, span.end_ns = error, round(self.now_s * 1e9)
        self.buffer.end(span)

    def after(self, seconds: float) -> list[str]:
        """The names of the spans that are exported within this time."""
        found = []
        for _ in range(round(seconds)):
            self.now_s += 1
            found += [span.name for span in self.buffer.due()]
        return found


def trace_id(trace: int) -> str:
    return f"{trace:032x}"


@pytest.fixture
def traced() -> Traced:
    return Traced()


def test_a_fast_success_is_dropped(traced: Traced):
    traced.end(traced.begin(1))
    assert traced.after(30) == []
    assert traced.buffer.is_empty
    assert traced.buffer.take_chosen() == ()


def test_all_spans_of_a_trace_with_an_error_are_exported_once(traced: Traced):
    before, running, other = traced.begin(1, "before"), traced.begin(1, "running"), traced.begin(2, "other")
    traced.end(before)
    traced.end(other)
    assert traced.after(5) == []
    traced.end(traced.begin(1, "failed"), error=True)
    assert traced.after(1) == ["before", "failed"]
    assert traced.buffer.take_chosen() == (trace_id(1),)
    traced.end(running)
    traced.end(traced.begin(1, "later"))
    assert traced.after(20) == ["running", "later"]
    assert traced.buffer.take_chosen() == (), "a trace is published once"


def test_the_choice_of_another_process_counts_and_is_not_published_again(traced: Traced):
    traced.end(traced.begin(1))
    traced.buffer.keep([trace_id(1), trace_id(7)])
    assert traced.after(1) == ["span"]
    assert traced.buffer.take_chosen() == ()


def test_a_slow_span_is_chosen_while_it_runs_and_before_the_others_are_dropped(traced: Traced):
    slow = traced.begin(1, "slow")
    traced.end(traced.begin(1, "fast"))
    assert traced.after(SLOW_S) == []
    assert traced.after(1) == ["fast"]
    assert traced.buffer.take_chosen() == (trace_id(1),)
    traced.after(100)
    traced.end(slow)
    assert traced.after(1) == ["slow"]
    assert traced.buffer.is_empty


@pytest.mark.parametrize(("lane", "exported"), [("interactive", ["wait"]), ("batch", [])])
def test_a_wait_that_is_over_is_slow_except_in_the_batch_lane(traced: Traced, lane: str, exported: list[str]):
    traced.end(traced.begin(1, "wait", age_s=SLOW_S, lane=lane))
    assert traced.after(1) == exported


def test_a_choice_comes_too_late_for_spans_that_are_too_old(traced: Traced):
    traced.end(traced.begin(1, "old"))
    traced.after(SLOW_S + 6)
    traced.end(traced.begin(1, "new"), error=True)
    assert traced.after(5) == ["new"]


def test_more_spans_than_fit_cost_the_oldest_but_not_running_ones(traced: Traced, monkeypatch):
    monkeypatch.setattr(tail_buffer, "_MAX_SPANS", 10)
    running = traced.begin(1, "running")
    for number in range(12):
        traced.end(traced.begin(1, str(number)))
        if number % 3 == 2:
            assert traced.after(1) == []
    traced.buffer.keep([trace_id(1)])
    traced.end(running)
    assert traced.after(1) == ["running", *map(str, range(3, 12))]


def test_one_process_chooses_a_bounded_number_of_traces_in_a_second(traced: Traced, caplog):
    for trace in range(1, MAX_KEPT_TRACES + 20):
        traced.end(traced.begin(trace), error=True)
    assert len(traced.after(1)) == MAX_KEPT_TRACES
    assert len(traced.buffer.take_chosen()) == MAX_KEPT_TRACES
    assert "more than 100 unsampled traces" in caplog.text
    traced.end(traced.begin(5_000), error=True)
    assert traced.buffer.take_chosen() == (trace_id(5_000),)


def test_j1_the_oldest_choices_are_not_published_where_too_many_wait_but_exported(traced: Traced):
    for second in range(3):
        for trace in range(100 * second + 1, 100 * second + 101):
            traced.end(traced.begin(trace), error=True)
        assert len(traced.after(1)) == 100
    waiting = (*traced.buffer.take_chosen(), *traced.buffer.take_chosen())
    assert waiting == tuple(trace_id(trace) for trace in range(101, 301))
    assert traced.buffer.take_chosen() == ()


def test_what_is_chosen_and_what_is_dropped_is_counted(traced: Traced, monkeypatch):
    registry = CollectorRegistry()
    register_tail_metrics(registry, traced.buffer)
    traced.buffer.keep([trace_id(1)])
    for trace in range(1, MAX_KEPT_TRACES + 20):
        traced.end(traced.begin(trace), error=True)
    traced.after(SLOW_S + 6)

    assert registry.get_sample_value("penstock_tail_traces_chosen_total") == MAX_KEPT_TRACES
    assert registry.get_sample_value("penstock_tail_choices_dropped_total") == 18, (
        "another process chose the first"
    )
    assert registry.get_sample_value("penstock_tail_spans_dropped_total") == 0, "the others were old enough"

    monkeypatch.setattr(tail_buffer, "_MAX_SPANS", 10)
    for _ in range(12):
        traced.end(traced.begin(5_000))
    traced.after(1)
    assert registry.get_sample_value("penstock_tail_spans_dropped_total") == 12

    traced = Traced()
    for _ in range(12):
        traced.begin(1)
    traced.after(1)
    assert traced.buffer.spans_dropped >= 1, "two of them were dropped at once"


def test_chosen_traces_are_forgotten_after_a_while_and_beyond_a_number(traced: Traced, monkeypatch):
    traced.buffer.keep([trace_id(1)])
    traced.after(901)
    traced.end(traced.begin(1))
    assert traced.after(1) == []
    monkeypatch.setattr(tail_buffer, "_MAX_REMEMBERED", 2)
    traced.buffer.keep(map(trace_id, (2, 3, 4)))
    for trace in (2, 3, 4):
        traced.end(traced.begin(trace, str(trace)))
    assert traced.after(1) == ["3", "4"]


class KeptSpans:
    def __init__(self) -> None:
        self.names: list[str] = []

    def export(self, spans: Sequence[RecordedSpan]) -> None:
        self.names += [span.name for span in spans]

    def close(self) -> None:
        """Nothing is buffered."""


def test_the_recorder_exports_sampled_and_chosen_traces_and_passes_the_flag_on():
    exporter = KeptSpans()
    tracer = SpanRecorder(exporter, sample_ratio=0, tail=TailBuffer(SLOW_S))
    for name, error in (("failed", "overloaded"), ("fine", None)):
        root = tracer.start(f"root {name}", "client")
        assert root.traceparent.endswith("-00"), "other processes decide as this one"
        child = tracer.start(f"child {name}", "consumer", parent=root.traceparent)
        assert child.traceparent.endswith("-00")
        child.end()
        root.end(error=error)
    foreign = f"00-{trace_id(9)}-{1:016x}-01"
    tracer.start("sampled elsewhere", "consumer", parent=foreign).end()
    tracer.close()
    assert sorted(exporter.names) == ["child failed", "root failed", "sampled elsewhere"]
    assert len(tracer.tail.take_chosen()) == 1


def test_an_unsampled_span_is_not_recorded_without_tail_sampling():
    """J1: such a span costs one object and passes the trace on as it came."""
    exporter = KeptSpans()
    tracer = SpanRecorder(exporter, sample_ratio=0)
    foreign = f"00-{trace_id(9)}-{1:016x}-00"
    span = tracer.start("quiet", "consumer", parent=foreign)
    assert span.traceparent == foreign
    span.end(error="overloaded")
    tracer.close()
    assert exporter.names == []
