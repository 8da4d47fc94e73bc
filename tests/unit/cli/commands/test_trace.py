"""`penstock trace` waits until every service has exported its spans, and no longer (J1)."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
import pytest

from penstock.bus import trace_names as names
from penstock.cli.commands.trace import trace
from penstock.runtime.telemetry.opentelemetry import EXPORT_INTERVAL_S
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
