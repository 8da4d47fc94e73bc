from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.worker.estimates.token_calibration import TokenCalibration


def test_each_model_is_calibrated_separately():
    calibration = TokenCalibration()
    assert calibration.corrected("a", 100) == 100
    for _ in range(50):
        calibration.observe("a", estimated_tokens=100, true_tokens=150)
    assert calibration.corrected("a", 100) == 150
    assert calibration.factor("b") == 1.0


def test_an_answer_without_usage_is_ignored():
    calibration = TokenCalibration()
    calibration.observe("a", estimated_tokens=100, true_tokens=0)
    calibration.observe("a", estimated_tokens=0, true_tokens=100)
    assert calibration.factor("a") == 1.0


@given(st.lists(st.tuples(st.integers(1, 10**6), st.integers(1, 10**6))))
def test_the_factor_stays_within_its_bounds(observations):
    calibration = TokenCalibration()
    for estimated_tokens, true_tokens in observations:
        calibration.observe("a", estimated_tokens=estimated_tokens, true_tokens=true_tokens)
        assert 0.3 <= calibration.factor("a") <= 3.0
