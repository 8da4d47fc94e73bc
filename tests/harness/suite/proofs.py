"""Figures of the proofs: each is printed when it is known, and one table lists all at the end."""

from __future__ import annotations

import textwrap
from typing import Final

import pytest

__all__ = ["add_table", "report_figures", "take_figures"]

_reported: Final[list[str]] = []
_FIGURES: Final = "figures"
_WIDTH: Final = 100


def report_figures(text: str) -> None:
    """Print figures of the running proof and keep them for the table."""
    print(f"\n{text}")
    _reported.append(text)


def take_figures() -> list[tuple[str, object]]:
    """The figures reported since the last call, as user properties of a pytest report."""
    found: list[tuple[str, object]] = [(_FIGURES, text) for text in _reported]
    _reported.clear()
    return found


def add_table(reporter: pytest.TerminalReporter) -> None:
    """Write a table of the proofs: result, seconds, name, and below it the figures."""
    reports = [
        report
        for result in ("passed", "failed")
        for report in reporter.stats.get(result, [])
        if "prove" in report.keywords and report.when == "call"
    ]
    if not reports:
        return
    reporter.section("proofs")
    for report in sorted(reports, key=lambda each: each.nodeid):
        reporter.line(f"{report.outcome:8}{report.duration:7.1f} s  {report.nodeid.removeprefix('tests/')}")
        for name, text in report.user_properties:
            if name == _FIGURES:
                reporter.line(textwrap.indent(textwrap.fill(str(text), _WIDTH), " " * 19))
