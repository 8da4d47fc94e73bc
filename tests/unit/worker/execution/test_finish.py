"""D10: the error that the application receives when a request fails."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.contract.reply import FailedAttempt, Timings
from services.worker.execution.run import failed
from services.worker.execution.state import GaveUp
from services.worker.providers.errors.failures import ProviderFailure
from services.worker.providers.errors.read_error import ProviderError
from tests.unit.worker.worker_parts import WorkerParts, catalogue_of

ATTEMPT = FailedAttempt(model="m", provider="p", kind="refused", status=400, code="x", message="no")


class Reply:
    attempt = 1

    def terminal_position(self) -> tuple[str, int, int]:
        return "r", 1_000_000, 1


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (
            ProviderError(message="too hot", code="bad_value", type="invalid_request_error"),
            "bad_value",
            "too hot",
        ),
        (ProviderError(message="too hot", type="invalid_request_error"), "invalid_request_error", "too hot"),
        (ProviderError(code="500"), "500", None),
        (None, "x", "no"),
    ],
)
async def test_d10_the_failure_carries_the_providers_code_and_message(
    error: ProviderError | None, code: str | None, message: str | None
) -> None:
    reply: Any = Reply()
    execution = WorkerParts(catalogue_of()).execution(reply, lasts_s=1)
    execution.history.last_failure = ProviderFailure("refused", "400: too hot", error=error)
    execution.history.failed.append(ATTEMPT)
    error_sent = failed(execution, GaveUp("provider_refused", "no model can answer"), Timings()).error
    assert (error_sent.provider_code, error_sent.provider_message) == (code, message)
    assert error_sent.attempts == (ATTEMPT,)


async def test_d10_without_a_call_the_failure_names_no_provider_error() -> None:
    reply: Any = Reply()
    execution = WorkerParts(catalogue_of()).execution(reply, lasts_s=1)
    error_sent = failed(execution, GaveUp("deadline_exceeded", "too late"), Timings()).error
    assert (error_sent.provider_code, error_sent.provider_message, error_sent.attempts) == (None, None, ())
