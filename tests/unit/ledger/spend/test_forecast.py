"""The forecast of a period's cost."""

from __future__ import annotations

import pytest

from services.ledger.spend.forecast import forecast_picousd


@pytest.mark.parametrize(
    ("now_s", "forecast"),
    [(100, None), (99, None), (101, 5_000), (150, 100), (199, 50), (200, 50), (10_000, 50)],
)
def test_f5_the_forecast_is_linear_over_the_time_that_has_passed(now_s, forecast):
    assert forecast_picousd(50, 100, now_s, 200) == forecast


def test_f5_the_forecast_of_large_amounts_is_an_exact_integer():
    assert forecast_picousd(3 * 10**30 + 1, 0, 1, 3) == 9 * 10**30 + 3
