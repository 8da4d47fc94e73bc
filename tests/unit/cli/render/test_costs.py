"""F4, F5: the text of costs."""

from __future__ import annotations

import pytest

from penstock.cli.render.costs import cost_text, picousd_text

USD = 10**12


@pytest.mark.parametrize(("microusd", "text"), [(31, "$0.000031"), (1_500_000, "$1.5"), (2_000_000, "$2")])
def test_a_known_cost(microusd, text):
    assert cost_text(microusd, 0) == text


@pytest.mark.parametrize(
    ("picousd", "text"),
    [
        (0, "$0.00"),
        (1, "$0.000000000001"),
        (12_000_000, "$0.000012"),
        (12_345_678, "$0.00001235"),
        (USD // 2, "$0.50"),
        (1_234_567 * USD // 1_000_000, "$1.235"),
        (98_765_432_198_765_432, "$98,765.43"),
        (-(USD // 4), "-$0.25"),
    ],
)
def test_f5_money_is_never_rounded_to_nothing(picousd, text):
    assert picousd_text(picousd) == text
