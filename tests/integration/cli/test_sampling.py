"""Commands beside `penstock up` sample the traces that they begin as it does (J1)."""

from __future__ import annotations

from pathlib import Path

from tests.harness.processes.penstock_up import PenstockUp


def test_j1_a_request_of_a_command_is_not_sampled_where_the_running_system_samples_none(tmp_path: Path):
    up = PenstockUp(tmp_path, PENSTOCK_TRACE_SAMPLE_RATIO="0")
    try:
        other_terminal = {"PENSTOCK_TRACE_SAMPLE_RATIO": ""}
        assert up.run("ask", "Hello", env=other_terminal).returncode == 0
        traced = up.run("trace", "last", env=other_terminal)
    finally:
        up.stop()

    assert traced.returncode == 1
    assert "was not sampled (PENSTOCK_TRACE_SAMPLE_RATIO)" in traced.stderr
