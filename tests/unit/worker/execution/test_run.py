"""C1, D2, D10: a request is charged when it starts, and the error that the application receives when it fails."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from msgspec.structs import replace

from penstock.bus.clock import Clock
from penstock.contract import subjects
from penstock.contract.codec import encode
from penstock.contract.reply import FailedAttempt, Timings
from penstock.contract.request import NO_BODY, BodyRef
from penstock.runtime.accounting.prior_attempts import PriorAttempts
from penstock.runtime.config.catalogue import Limits, Parameters, RoleConfig
from penstock.runtime.consumer.delivery import Delivery
from penstock.runtime.consumer.work_message import InvalidWork
from services.worker.execution.state import GaveUp
from services.worker.execution.terminal_event import failed, log_end
from services.worker.intake.checked_work import CheckedWork, read_work
from services.worker.models.choose import ModelState
from services.worker.providers.errors.failures import ProviderFailure
from services.worker.providers.errors.read_error import ProviderError
from services.worker.providers.parameters.compose import compose
from services.worker.rate_limit.quota import Need
from tests.harness.requests.reply_events import completed
from tests.harness.requests.reply_events import failed as ended_in_error
from tests.unit.worker.worker_parts import AmpleRoom, WorkerParts, catalogue_of, work


def delivery(number: int = 1) -> Delivery:
    return Delivery(subject="", data=b"", headers={}, ack_subject="", sequence=1, number=number, stored_ns=0)


def _checked(catalogue: Any, **body: Any) -> CheckedWork:
    return read_work(subjects.work("chat", "interactive", 0, "x"), encode(work(body=body)), catalogue)


@pytest.mark.parametrize(
    ("asked", "default", "ceiling", "charged"),
    [
        ({"max_tokens": 16_000}, None, 4096, 4096),
        ({"max_completion_tokens": 16_000}, None, 4096, 4096),
        ({"max_tokens": 500}, None, 4096, 500),
        ({}, 8000, 4096, 4096),
        ({}, 2000, 4096, 2000),
        ({"max_tokens": 16_000}, 2000, None, 16_000),
    ],
)
async def test_c1_the_quota_is_charged_up_to_the_roles_ceiling(
    asked: dict[str, int], default: int | None, ceiling: int | None, charged: int
) -> None:
    role = RoleConfig(
        chain=("m",), parameters=Parameters(max_tokens=default), ceilings=Parameters(max_tokens=ceiling)
    )
    catalogue = catalogue_of(role, Limits(tokens_per_minute=8000))
    checked = _checked(catalogue, **asked)
    execution = WorkerParts(catalogue).starter().start(checked, PriorAttempts(), delivery())

    assert execution.size.output_tokens == charged
    sent = json.loads(compose(checked.work.body, model="m", role=role, stream=False)[0])
    assert charged in {sent.get("max_tokens"), sent.get("max_completion_tokens")}


async def test_c1_the_router_gives_the_output_limit_of_a_body_that_is_stored_apart() -> None:
    catalogue = catalogue_of()
    ref = BodyRef(size=5, sha256="0" * 64)

    def read(max_tokens: int) -> CheckedWork:
        large = replace(work(body_ref=ref, max_tokens=max_tokens), body=NO_BODY)
        return read_work(subjects.work("chat", "interactive", 0, "x"), encode(large), catalogue)

    execution = WorkerParts(catalogue).starter().start(read(77), PriorAttempts(), delivery())
    assert execution.size.output_tokens == 77
    with pytest.raises(InvalidWork, match="out of range"):
        read(-1)


async def test_c1_a_limit_above_the_ceiling_does_not_refuse_the_request() -> None:
    role = RoleConfig(chain=("m",), ceilings=Parameters(max_tokens=4096))
    catalogue = catalogue_of(role, Limits(tokens_per_minute=8000))
    parts = WorkerParts(catalogue)
    checked = _checked(catalogue, max_tokens=16_000)
    execution = parts.starter().start(checked, PriorAttempts(), delivery())

    _, output_tokens = parts.degradation.expected_tokens(execution.size, "m", 0.0)
    need = Need(execution.size.input_tokens + output_tokens)
    assert parts.availability.state("m", need, 0.0) == ModelState(0.0, "ready")


@pytest.mark.parametrize(("begun", "counted"), [(0, 0), (1, 1), (2, 2), (3, 2), (14, 2)])
async def test_d2_attempts_of_earlier_workers_leave_two(begun: int, counted: int) -> None:
    catalogue = catalogue_of()
    prior = PriorAttempts(tried=begun, attempt=begun)
    history = WorkerParts(catalogue).starter().start(_checked(catalogue), prior, delivery(2)).history
    assert (history.earlier, history.earlier_failures, history.failures) == (begun, counted, counted)


ATTEMPT = FailedAttempt(model="m", provider="p", kind="refused", status=400, code="x", message="no")


class Reply(AmpleRoom):
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


def test_j4_a_request_costs_no_log_line_where_its_level_is_off(caplog):
    asked: list[str] = []

    def unix_s() -> float:
        asked.append("the time")
        return 0.0

    clock = Clock(time.monotonic, unix_s)
    caplog.set_level("WARNING")
    log_end(work(), completed(), clock)
    assert (caplog.records, asked) == ([], [])
    log_end(work(), ended_in_error(code="internal", retry="never"), clock)
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    caplog.set_level("INFO")
    log_end(work(), completed(), clock)
    assert caplog.records[-1].fields["model"] == "m"
