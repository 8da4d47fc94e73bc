"""How much quota a call needs: the size of the body that would be sent, corrected by what the model counted before."""

from __future__ import annotations

from msgspec import Struct

from penstock.bus.clock import loop_now_s
from services.worker.degradation.monitor import DegradationMonitor
from services.worker.estimates.token_calibration import TokenCalibration
from services.worker.execution.state import Execution
from services.worker.rate_limit.quota import Need

__all__ = ["NeedEstimator"]


class NeedEstimator(Struct, frozen=True):
    """Estimates the tokens of a call."""

    degradation: DegradationMonitor
    calibration: TokenCalibration

    def need(self, execution: Execution, model: str) -> Need:
        """The need of a call of `model` for the request now."""
        input_tokens, output_tokens = self.degradation.expected_tokens(execution.size, model, loop_now_s())
        input_tokens = self.calibration.corrected(model, input_tokens)
        return Need(input_tokens + output_tokens, execution.work.lane, execution.arrival)
