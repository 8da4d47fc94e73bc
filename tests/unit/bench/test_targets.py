"""K7: the targets of the benchmark: ratios, medians and the table."""

from __future__ import annotations

import pytest

from tests.bench.machine import is_optimised
from tests.bench.targets import Target, medians, target_table, text_table


@pytest.mark.parametrize(
    ("target", "met"),
    [
        (Target("ms", 3.0, 3.0), True),
        (Target("ms", 3.1, 3.0), False),
        (Target("per s", 3.0, 3.0, at_least=True), True),
        (Target("per s", 2.9, 3.0, at_least=True), False),
        (Target("ms / bare call", 9.0, 0.7, 0.69), True),
        (Target("ms / bare call", 0.1, 0.7, 0.71), False),
        (Target("added ms", 0.1, 20.0, added=True), True),
        (Target("added ms", -0.1, 20.0, added=True), False),
        (Target("added ms / bare call", -0.1, 0.8, -0.6, added=True), False),
    ],
)
def test_k7_a_ratio_is_judged_in_place_of_the_figure(target: Target, met: bool) -> None:
    assert target.met is met


def test_k7_the_table_shows_each_figure_with_its_ratio_target_and_verdict() -> None:
    table = target_table(
        [
            Target("CPU ms / bare call", 1.71234, 0.7, 1.304),
            Target("MB of the router", 54.0, 55.0),
            Target("holds per second", 3200.0, 3000.0, at_least=True),
        ]
    )
    assert table.splitlines() == [
        "figure              measured  ratio         target",
        "------------------  --------  -----  -------------  ------",
        "CPU ms / bare call     1.712   1.30    at most 0.7  MISSED",
        "MB of the router          54            at most 55     met",
        "holds per second        3200         at least 3000     met",
    ]


def test_k7_an_added_time_below_zero_is_not_measurable() -> None:
    table = target_table([Target("added p50 ms / bare call", -4.631, 0.8, -0.63, added=True)])
    assert table.endswith("not measurable: the call that it is compared with was disturbed")


def test_k7_the_columns_of_a_table_are_as_wide_as_their_longest_cell() -> None:
    assert text_table(("a", "long"), [("wide", "1")]) == "a     long\n----  ----\nwide     1"


def test_k7_medians_are_taken_of_each_figure_also_within_objects() -> None:
    rounds = [
        {"cpu": 1.0, "p50": {"1": 5.0}},
        {"cpu": 9.0, "p50": {"1": 3.0}},
        {"cpu": 2.0, "p50": {"1": 4.0}},
    ]
    assert medians(rounds) == {"cpu": 2.0, "p50": {"1": 4.0}}


@pytest.mark.parametrize(
    ("arguments", "prefix", "optimised"),
    [
        ("'--enable-shared' '--enable-optimizations'", "/usr/local", True),
        ("'--enable-shared'", "/usr", True),
        ("'--enable-shared'", "/opt/python3.11", False),
        ("", "/usr/local", False),
    ],
)
def test_k7_a_build_is_optimised_by_its_option_or_by_its_distribution(
    arguments: str, prefix: str, optimised: bool
) -> None:
    assert is_optimised(arguments, prefix) is optimised
