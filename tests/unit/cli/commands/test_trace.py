"""`penstock trace` waits until every service has exported its spans, and no longer (J1)."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
import pytest

from penstock.bus import trace_names as names
from penstock.cli.commands.trace import trace
from penstock.cli.errors import CommandError
from penstock.runtime.runtime_file import RuntimeFile, write_runtime_file
from penstock.runtime.telemetry.spans import EXPORT_INTERVAL_S
from penstock.runtime.telemetry.trace_file import SpanLine


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    monkeypatch.setenv("PENSTOCK_TRACES", "off")
    return waits


def ended(data: Path, seconds_ago: float) -> Path:
    end_ns = time.time_ns() - round(seconds_ago * 1e9)
    line = SpanLine(
        trace_id="t",
        span_id="s",
        parent_id=None,
        service="penstock-client",
        name=names.SPAN_CLIENT,
        kind="client",
        start_ns=end_ns - 1_000_000,
        end_ns=end_ns,
        error=False,
        attributes={names.REQUEST_ID: "r-1"},
    )
    (data / "traces.jsonl").write_bytes(msgspec.json.encode(line) + b"\n")
    return data


def test_j1_a_trace_that_has_just_ended_is_read_after_the_next_export(tmp_path, waits, capsys):
    assert trace("last", ended(tmp_path, seconds_ago=0)) == 0
    (wait_s,) = waits
    assert EXPORT_INTERVAL_S < wait_s < 3 * EXPORT_INTERVAL_S
    assert "r-1" in capsys.readouterr().out


def test_j1_a_trace_whose_spans_are_all_exported_is_printed_at_once(tmp_path, waits):
    assert trace("last", ended(tmp_path, seconds_ago=4 * EXPORT_INTERVAL_S)) == 0
    assert waits == []


@pytest.mark.parametrize(
    ("collector", "said"),
    [
        ("http://here:4318/v1/traces", "look in the OTLP collector at http://here:4318/v1/traces"),
        (None, "off"),
    ],
)
def test_j1_a_running_system_without_a_trace_file_is_said_to_have_none(
    tmp_path, monkeypatch, collector, said
):
    monkeypatch.delenv("PENSTOCK_TRACES", raising=False)
    monkeypatch.delenv("NATS_URL", raising=False)
    write_runtime_file(
        ended(tmp_path, 9), RuntimeFile(nats_url="n", embedded=True, pid=1, collector=collector)
    )

    with pytest.raises(CommandError, match=said):
        trace("last", tmp_path)


def test_j1_the_file_of_a_running_system_is_read_whatever_the_command_itself_does_with_traces(
    tmp_path, waits, capsys
):
    file = ended(tmp_path, seconds_ago=9) / "traces.jsonl"
    elsewhere = tmp_path / "data"
    elsewhere.mkdir()
    write_runtime_file(elsewhere, RuntimeFile(nats_url="n", embedded=True, pid=1, traces=str(file)))

    assert trace("last", elsewhere) == 0
    assert "r-1" in capsys.readouterr().out


def test_j1_an_error_says_that_a_request_without_a_trace_may_not_be_sampled(tmp_path, waits):
    with pytest.raises(CommandError, match=r"no request r-2: .*PENSTOCK_TRACE_SAMPLE_RATIO"):
        trace("r-2", ended(tmp_path, seconds_ago=9))
