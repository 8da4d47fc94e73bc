"""Function calls per request, from files of cProfile: what a process calls also without requests is not in them."""

from __future__ import annotations

import pstats
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from tests.bench.targets import text_table

__all__ = ["Calls", "calls_of", "calls_table", "most_called"]

_Function = tuple[str, int, str]
"""File, line and name; the file of a function in C is `~`."""


class Calls(Struct, frozen=True):
    """Per request. `idle`: those in Python, a second, without requests."""

    python: float
    c: float
    idle: float
    by_function: dict[_Function, float]


def calls_of(loaded: Path, idle: Path, *, requests: int, seconds: float) -> Calls:
    """`loaded` was counted in so many requests, `idle` without any, both for so many seconds."""
    without = _counted(idle)
    of_requests = {
        function: max(0, count - without.get(function, 0)) / requests
        for function, count in _counted(loaded).items()
    }
    in_python, in_c = _by_language(of_requests)
    idle_in_python, _ = _by_language(without)
    return Calls(in_python, in_c, idle_in_python / seconds, of_requests)


def _counted(file: Path) -> dict[_Function, int]:
    stats = pstats.Stats(str(file)).stats  # type: ignore[attr-defined]
    return {function: figures[1] for function, figures in stats.items()}


def _by_language(counted: Mapping[_Function, float]) -> tuple[float, float]:
    """The sums in Python and in C."""
    in_c = sum(count for (name, _, _), count in counted.items() if name == "~")
    return sum(counted.values()) - in_c, in_c


def calls_table(by_process: dict[str, Calls]) -> str:
    rows = [
        (name, f"{calls.python:.0f}", f"{calls.c:.0f}", f"{calls.idle:.0f}")
        for name, calls in by_process.items()
    ]
    return text_table(("calls per request", "Python", "C", "Python, a second without requests"), rows)


def most_called(calls: Calls, count: int) -> str:
    """The functions in Python that are called most, each with its file and line."""
    ordered = sorted(calls.by_function.items(), key=lambda item: -item[1])
    rows = [
        ("/".join(Path(file).parts[-3:]) + f":{line} {name}", f"{each:.2f}")
        for (file, line, name), each in ordered
        if file != "~"
    ]
    return text_table(("function", "calls"), rows[:count])
