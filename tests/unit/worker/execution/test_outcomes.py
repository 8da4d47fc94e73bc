"""D11: the scope of a failure decides which shared state it changes."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from penstock.bus.clock import loop_now_s
from penstock.runtime.config.catalogue import Breaker
from services.worker.execution.state import Execution
from services.worker.providers.errors.classify import failure_of_status
from services.worker.providers.errors.failures import FailureKind, ProviderFailure
from services.worker.providers.errors.read_error import ProviderError
from services.worker.rate_limit.quota import QuotaKey
from tests.unit.worker.worker_parts import NAMES, WorkerParts, catalogue_of

KEY = QuotaKey("A_KEY", "m")
FAILURES = 5


class Shared:
    """The shared state of a worker, and failed calls that change it."""

    def __init__(self) -> None:
        catalogue = replace(catalogue_of(), breaker=Breaker(failure_threshold=FAILURES))
        self.parts = WorkerParts(catalogue)
        self.availability = self.parts.availability
        self.outcomes = self.parts.outcomes
        self.announced = self.parts.announcer.events

    def execution(self, text: str) -> Execution:
        return self.parts.execution(lasts_s=60, body={"messages": [{"role": "user", "content": text}]})

    def fails(
        self,
        execution: Execution,
        kind: FailureKind,
        status: int | None = None,
        key: QuotaKey = KEY,
        *,
        own: tuple[str, ...] = (),
    ) -> None:
        """One failed call, as the chain executor reports it; `own`: words of the error's fields."""
        error = ProviderError(message="said", status=status, trusted_codes=frozenset(own))
        failure = ProviderFailure(kind, "said", status=status, error=error)
        admission = self.availability.breakers["m"].admit(loop_now_s())
        health = self.outcomes.record_failure(execution, key, failure, loop_now_s())
        self.outcomes.report_health("m", admission, health)

    @property
    def breaker(self) -> str:
        return self.availability.breakers["m"].state

    @property
    def withdrawn(self) -> bool:
        return self.availability.roster.is_withdrawn("m", loop_now_s())

    @property
    def accepted(self) -> tuple[str, ...]:
        return tuple(key.credential for key in self.availability.accepted("m", loop_now_s()))


@pytest.fixture
async def shared() -> Shared:
    return Shared()


async def test_d11_repeats_of_one_request_do_not_open_the_breaker(shared: Shared) -> None:
    execution = shared.execution("too long in an unknown way")
    for _ in range(4 * FAILURES):
        shared.fails(execution, "server_error", 500)
    assert shared.breaker == "closed"


async def test_d11_two_failing_requests_do_not_open_the_breaker(shared: Shared) -> None:
    for text in ("long", "longer"):
        execution = shared.execution(text)
        for _ in range(4):
            shared.fails(execution, "server_error", 500)
    assert shared.breaker == "closed"


async def test_d11_a_provider_that_is_down_opens_the_breaker(shared: Shared) -> None:
    for number in range(FAILURES):
        assert shared.breaker == "closed"
        shared.fails(shared.execution(f"request {number}"), "server_error", 503)
    assert shared.breaker == "open"


async def test_d11_every_failed_connection_counts_for_the_breaker(shared: Shared) -> None:
    execution = shared.execution("the same")
    for _ in range(FAILURES):
        shared.fails(execution, "connection")
    assert shared.breaker == "open"


BROKEN: tuple[FailureKind, ...] = ("no_first_token", "too_slow", "stalled", "broken_stream", "malformed")


@pytest.mark.parametrize("kind", BROKEN)
async def test_d11_a_failure_counts_once_per_content(shared: Shared, kind: FailureKind) -> None:
    for _ in range(4 * FAILURES):
        shared.fails(shared.execution("the same"), kind)
    assert shared.breaker == "closed"
    for number in range(1, FAILURES):
        shared.fails(shared.execution(f"request {number}"), kind)
    assert shared.breaker == "open"


async def test_d11_a_probe_with_a_failing_content_is_not_repeated_at_once(shared: Shared) -> None:
    for number in range(FAILURES):
        shared.fails(shared.execution(f"request {number}"), "stalled")
    breaker = shared.availability.breakers["m"]
    due_s = breaker.retry_at_s(loop_now_s())
    probe = breaker.admit(due_s)
    assert probe.probe
    breaker.repeated(probe, due_s)
    assert breaker.state == "half_open"
    assert breaker.retry_at_s(due_s) > due_s


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        *(("too_large", 429), ("too_large", 413), ("context_length", 400), ("content_filter", 403)),
        *(("refused", 404), ("refused", 400), ("random_refusal", 400), ("parameter", 400)),
    ],
)
async def test_d11_a_failure_of_one_request_changes_no_shared_state(
    shared: Shared, kind: FailureKind, status: int
) -> None:
    for number in range(4 * FAILURES):
        shared.fails(shared.execution(f"request {number}"), kind, status)
    assert (shared.breaker, shared.withdrawn, shared.accepted) == ("closed", False, NAMES)
    assert shared.announced == []


async def test_d11_only_a_rate_limit_pauses(shared: Shared) -> None:
    shared.fails(shared.execution("one"), "rate_limited", 429)
    assert [type(each).__name__ for each in shared.announced] == ["QuotaPaused"]


@pytest.mark.parametrize(("status", "changed"), [(404, "model"), (403, "credential")])
async def test_d11_an_unclear_refusal_counts_after_several_requests(
    shared: Shared, status: int, changed: str
) -> None:
    for text in ("one", "one", "one", "two", "two"):
        shared.fails(shared.execution(text), "unclear", status)
    assert (shared.withdrawn, shared.accepted) == (False, NAMES)
    shared.fails(shared.execution("three"), "unclear", status)
    assert shared.withdrawn == (changed == "model")
    assert shared.accepted == (NAMES if changed == "model" else NAMES[1:])


async def test_d11_a_success_clears_unclear_refusals(shared: Shared) -> None:
    for text in ("one", "two", "three", "four"):
        shared.fails(shared.execution(text), "unclear", 404)
        shared.outcomes.record_success(KEY, loop_now_s())
    assert not shared.withdrawn


async def test_d11_a_model_proved_missing_is_withdrawn_at_once(shared: Shared) -> None:
    shared.fails(shared.execution("one"), "not_found", 404, own=("model_not_found",))
    assert shared.withdrawn


SUSPECTED: tuple[tuple[FailureKind, int, str], ...] = (
    ("not_found", 400, "model"),
    ("credentials", 403, "credential"),
    ("budget_spent", 429, "credential"),
)


@pytest.mark.parametrize(("kind", "status", "changed"), SUSPECTED)
async def test_d11_an_unproved_refusal_counts_after_several_requests(
    shared: Shared, kind: FailureKind, status: int, changed: str
) -> None:
    for text in ("one", "one", "one", "two", "two"):
        shared.fails(shared.execution(text), kind, status)
    assert (shared.withdrawn, shared.accepted, shared.announced) == (False, NAMES, [])
    shared.fails(shared.execution("three"), kind, status)
    assert shared.withdrawn == (changed == "model")
    assert shared.accepted == (NAMES if changed == "model" else NAMES[1:])


@pytest.mark.parametrize(("kind", "status", "changed"), SUSPECTED)
async def test_d11_a_success_clears_unproved_refusals(
    shared: Shared, kind: FailureKind, status: int, changed: str
) -> None:
    for text in ("one", "two", "three", "four"):
        shared.fails(shared.execution(text), kind, status)
        shared.outcomes.record_success(KEY, loop_now_s())
    assert (shared.withdrawn, shared.accepted, changed != "") == (False, NAMES, True)


async def test_d11_an_unproved_rate_limit_pauses_no_model(shared: Shared) -> None:
    for text in ("one", "two", "three", "four"):
        shared.fails(shared.execution(text), "rate_limited", 500)
    assert shared.announced == []


@pytest.mark.parametrize(
    ("reported_s", "pause_s", "is_logged"),
    [(3_600.0, 3_600.0, False), (3_601.0, 3_600.0, True), (86_400.0, 3_600.0, True), (9e8, 1.0, True)],
)
async def test_c4_a_pause_lasts_an_hour_at_most(
    shared: Shared, caplog: pytest.LogCaptureFixture, reported_s: float, pause_s: float, *, is_logged: bool
) -> None:
    failure = failure_of_status(429, b"", {"retry-after": str(reported_s)}, 0.0)
    shared.outcomes.record_failure(shared.execution("one"), KEY, failure, loop_now_s())
    (event,) = shared.announced
    assert event.until_ms - event.at_ms == pytest.approx(pause_s * 1000, abs=5)
    assert (f"A_KEY m asks to wait {reported_s:.0f} s" in caplog.text) == is_logged


async def test_d11_a_spent_budget_excludes_its_credential_and_is_logged(
    shared: Shared, caplog: pytest.LogCaptureFixture
) -> None:
    shared.fails(shared.execution("one"), "budget_spent", 429, own=("insufficient_quota",))
    assert shared.accepted == NAMES[1:]
    (event,) = shared.announced
    assert (event.credential, event.usable, event.why) == ("A_KEY", False, "the budget is spent: said")
    assert "the budget behind the credential A_KEY is spent" in caplog.text
    shared.outcomes.record_success(KEY, loop_now_s())
    assert shared.accepted == NAMES
    assert shared.announced[-1].usable
