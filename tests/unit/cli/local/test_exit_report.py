"""How a process ended, and the end of its log."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from penstock.cli.local.exit_report import exit_text, last_lines


@pytest.mark.parametrize(
    ("returncode", "text"),
    [
        (0, "exited with code 0"),
        (3, "exited with code 3"),
        (-signal.SIGKILL, "was killed by SIGKILL"),
        (-99, "was killed by signal 99"),
    ],
)
def test_how_a_process_ended(returncode: int, text: str):
    assert exit_text(returncode) == text


def test_last_lines_are_those_of_this_run(tmp_path: Path):
    log = tmp_path / "x.log"
    log.write_text("an earlier run\n")
    start = log.stat().st_size
    with log.open("a") as file:
        file.writelines(f"line {n}\n" for n in range(100))
    assert last_lines(log, count=2, since_byte=start) == "    line 98\n    line 99"
    assert "earlier" not in last_lines(log, count=1000, since_byte=start)


def test_an_empty_log_is_reported(tmp_path: Path):
    (tmp_path / "x.log").touch()
    assert last_lines(tmp_path / "x.log") == "    (the log is empty)"


def test_last_lines_reads_only_the_end_of_a_huge_log(tmp_path: Path):
    (tmp_path / "x.log").write_bytes(b"x" * 200_000 + b"\nthe end\n")
    assert len(last_lines(tmp_path / "x.log")) < 70_000
    assert last_lines(tmp_path / "x.log").endswith("    the end")
