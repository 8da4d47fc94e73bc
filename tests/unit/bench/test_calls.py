"""K7: function calls per request."""

from __future__ import annotations

import cProfile
from pathlib import Path

from tests.bench.profile.calls import Calls, calls_of, calls_table, most_called


def once() -> int:
    return len("text")


def now_and_then() -> None:
    """What a process does by time, with or without requests."""


def profiled(tmp_path: Path) -> Calls:
    """Six calls in two requests and two seconds, beside three by time."""
    profile = cProfile.Profile()
    for name, calls in (("loaded", 6), ("idle", 0)):
        profile.clear()
        profile.enable()
        for _ in range(calls):
            once()
        for _ in range(3):
            now_and_then()
        profile.disable()
        profile.dump_stats(tmp_path / name)
    return calls_of(tmp_path / "loaded", tmp_path / "idle", requests=2, seconds=2.0)


def test_k7_calls_are_counted_for_each_request_in_python_and_in_c(tmp_path: Path) -> None:
    calls = profiled(tmp_path)
    own = {
        name: count for (_, _, name), count in calls.by_function.items() if "len" in name or name == "once"
    }
    assert own == {"once": 3.0, "<built-in method builtins.len>": 3.0}
    assert calls.python == 3.0
    assert calls.c >= 3.0


def test_k7_calls_by_time_are_not_those_of_requests(tmp_path: Path) -> None:
    calls = profiled(tmp_path)
    by_name = {name: count for (_, _, name), count in calls.by_function.items()}
    assert by_name["now_and_then"] == 0.0
    assert calls.idle == 1.5


def test_k7_the_functions_called_most_are_those_in_python(tmp_path: Path) -> None:
    _, _, only, *_ = most_called(profiled(tmp_path), 5).splitlines()
    assert only.split()[0].startswith("unit/bench/test_calls.py:")
    assert only.split()[1:] == ["once", "3.00"]


def test_k7_the_table_has_a_line_for_each_process() -> None:
    table = calls_table({"router": Calls(544.3, 567.2, 80.4, {}), "worker": Calls(1260.0, 997.0, 20.0, {})})
    assert [line.split() for line in table.splitlines()[2:]] == [
        ["router", "544", "567", "80"],
        ["worker", "1260", "997", "20"],
    ]
