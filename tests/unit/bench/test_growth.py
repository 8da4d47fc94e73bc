"""K7: how the CPU of a request grows: the table, and the targets of each step."""

from __future__ import annotations

from typing import Any

from tests.bench.growth import growth_table, growth_targets


def figures(worker: float) -> dict[str, float]:
    return {"client": 0.3, "router": 0.4, "worker": worker, "nats_server": 0.3, "sum": 1.0 + worker}


REPORT: dict[str, Any] = {
    "growth": {
        "workers": {"1": figures(1.5), "4": figures(1.0), "16": figures(1.5)},
        "characters": {"1000": figures(1.0), "8000": figures(1.0), "1000000": figures(99.0)},
    }
}


def test_k7_each_step_is_judged_by_its_ratio_to_the_cheapest_before_except_the_longest_prompts() -> None:
    found = {target.figure: (target.ratio, target.met) for target in growth_targets(REPORT)}
    assert found == {
        "CPU ms at 4 workers / at the cheapest step before": (0.8, True),
        "CPU ms at 16 workers / at the cheapest step before": (1.25, False),
        "CPU ms at 8000 characters / at the cheapest step before": (1.0, True),
    }


def test_k7_the_table_has_a_line_for_each_step_with_its_processes() -> None:
    lines = growth_table(REPORT).splitlines()
    assert len(lines) == 2 + 6
    assert lines[2].split() == ["1", "workers", "0.30", "0.40", "1.50", "0.30", "2.50"]
    assert lines[4].split() == ["16", "workers", "0.30", "0.40", "1.50", "0.30", "2.50", "1.25"]
    assert lines[7].split()[-1] == "50.00"
