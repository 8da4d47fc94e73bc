"""D2, D4, D5: which further attempts a request has after a failed one."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from penstock.bus.clock import loop_now_s
from penstock.runtime.config.catalogue import Catalogue, Model, ProviderConfig, RetrySettings, RoleConfig
from services.worker.execution.next_attempt import describe_failures
from services.worker.execution.state import GaveUp
from services.worker.providers.errors.failures import FailureKind, ProviderFailure, health_of
from services.worker.providers.errors.read_error import ProviderError
from tests.unit.worker.worker_parts import NAMES, WorkerParts


class _Case:
    """A request for the chain a, b (of one provider), c, d (of two others)."""

    def __init__(
        self, lasts_s: float = 90.0, role: RoleConfig | None = None, lane: Any = "interactive"
    ) -> None:
        providers = {"a": "p", "b": "p", "c": "q", "d": "r"}
        catalogue = Catalogue(
            name="test",
            providers={name: ProviderConfig(api_key_env=NAMES) for name in ("p", "q", "r")},
            models={model: Model(provider=provider) for model, provider in providers.items()},
            roles={"chat": role or RoleConfig(chain=tuple(providers))},
        )
        self.parts = WorkerParts(catalogue)
        self.next = self.parts.next_attempt
        self.execution = self.parts.execution(lasts_s=lasts_s, lane=lane)
        self.history = self.execution.history

    def fails(self, model: str, kind: FailureKind, **about: Any) -> None:
        self.next.after_failure(self.execution, model, ProviderFailure(kind, f"{kind} it was", **about))

    def again_in_s(self, model: str) -> float:
        return self.history.not_before_s.get(model, 0.0) - loop_now_s()

    @property
    def repeats(self) -> str | None:
        return None if self.history.same_model is None else self.history.same_model.model


@pytest.mark.parametrize("kind", ["server_error", "connection"])
async def test_d2_the_first_5xx_or_reset_repeats_the_model_the_second_does_not(kind) -> None:
    case = _Case()
    case.fails("a", kind)
    assert case.repeats == "a"
    assert 0 < case.again_in_s("a") < 0.3
    case.fails("a", kind)
    assert case.repeats is None
    case.fails("c", kind)
    assert case.repeats is None, "once for a request, not for each model"


async def test_d2_output_a_long_hint_or_the_setting_prevent_a_repeat() -> None:
    case = _Case()
    case.history.output_sent = True
    case.fails("a", "connection")
    assert case.repeats is None
    case = _Case()
    case.fails("a", "server_error", retry_after_s=3.0)
    assert case.repeats is None
    case = _Case(role=RoleConfig(chain=("a", "c"), retry=RetrySettings(same_model_retries=0)))
    case.fails("a", "server_error")
    assert case.repeats is None


async def test_d2_a_429_with_a_hint_up_to_wait_s_repeats_the_model_once() -> None:
    case = _Case()
    case.fails("a", "rate_limited", retry_after_s=1.5)
    assert case.repeats == "a"
    assert case.history.same_model is not None
    assert 3.5 < case.history.same_model.until_s - loop_now_s() < 4, (
        "one goes first, the others up to 2 s later"
    )
    case.fails("a", "rate_limited", retry_after_s=1.5)
    assert case.repeats is None
    case.fails("c", "rate_limited", retry_after_s=0.5)
    assert case.repeats == "c"
    case.fails("d", "rate_limited", retry_after_s=2.5)
    assert case.repeats is None
    assert case.history.failures == 0


async def test_a_random_refusal_repeats_once_and_a_parameter_four_times() -> None:
    case = _Case()
    case.fails("a", "random_refusal")
    assert case.repeats == "a"
    case.fails("a", "random_refusal")
    assert case.repeats is None
    assert "a" in case.history.excluded
    for _ in range(3):
        case.fails("c", "parameter")
        assert case.repeats == "c"
    case.fails("d", "parameter")
    assert case.repeats == "d"
    case.fails("d", "parameter")
    assert case.history.excluded == {"a", "d"}, "four times in all, whatever the model"


async def test_d2_a_failed_connection_delays_only_its_providers_models() -> None:
    case = _Case()
    case.fails("a", "connection", connected=False)
    case.fails("a", "connection", connected=False)
    assert case.history.not_before_s["a"] == case.history.not_before_s["b"]
    assert 1 < case.again_in_s("a") < 2
    assert case.again_in_s("c") < 0


@pytest.mark.parametrize("lane", ["interactive", "batch"])
async def test_d2_failed_connections_use_no_attempt_and_become_rarer(lane: Any) -> None:
    case = _Case(lane=lane)
    pauses = []
    for _ in range(30):
        case.fails("a", "connection", connected=False)
        pauses.append(case.again_in_s("a"))
    assert case.history.failures == 0
    assert min(pauses[6:]) > 5
    assert len(case.history.failed) == 20
    case.fails("a", "server_error")
    assert case.history.failures == 1


async def test_d2_with_little_time_left_connections_are_tried_more_often() -> None:
    case = _Case(lasts_s=4.0)
    for _ in range(5):
        case.fails("a", "connection", connected=False)
    assert 0.5 < case.again_in_s("a") <= 1


async def test_d2_a_provider_counts_as_unreachable_until_a_connection() -> None:
    case = _Case()
    unreachable = case.parts.availability.connect_failures
    case.fails("a", "connection", connected=False)
    assert unreachable.unreachable(loop_now_s()) == ("p",)
    case.fails("b", "server_error")
    assert unreachable.unreachable(loop_now_s()) == ()
    case.fails("a", "connection", connected=False)
    case.next.after_success(case.execution, "a")
    assert unreachable.unreachable(loop_now_s()) == ()


async def test_d2_a_long_hint_of_a_5xx_delays_its_provider_up_to_the_cap() -> None:
    case = _Case()
    case.fails("a", "connection")
    case.fails("a", "connection")
    before_s = case.again_in_s("a")
    case.fails("c", "server_error", retry_after_s=600.0)
    assert 7.9 < case.again_in_s("c") <= 8
    assert case.again_in_s("a") <= before_s
    case = _Case(lasts_s=4.0)
    case.fails("c", "server_error", retry_after_s=6.0)
    assert case.again_in_s("c") < 2, "the deadline passes before that"


async def test_d2_a_redelivered_request_has_two_attempts_within_a_bound() -> None:
    case = _Case()
    history = case.history
    history.failures, history.earlier_failures, history.earlier = 2, 2, 9
    case.fails("a", "broken_stream")
    with pytest.raises(GaveUp, match=r"^2 attempts failed, after those of other workers: a: broken_stream"):
        case.fails("a", "broken_stream")
    case = _helped()
    history = case.history
    history.failures, history.earlier_failures, history.earlier = 2, 2, 4
    for _ in range(3):
        case.fails("a", "broken_stream")
    with pytest.raises(GaveUp):
        case.fails("a", "broken_stream")


async def test_d2_the_model_where_repeats_help_most_sets_the_number() -> None:
    case = _helped()
    for _ in range(7):
        case.fails("d", "broken_stream")
    with pytest.raises(GaveUp):
        case.fails("d", "broken_stream")


async def test_a_refusal_ends_the_request_only_at_the_end_of_the_chain() -> None:
    case = _Case()
    case.history.failures = 3
    for model in ("a", "b", "c", "d"):
        case.fails(model, "refused", error=ProviderError(code="no_tools"))
    assert case.history.excluded == {"a", "b", "c", "d"}
    assert [each.code for each in case.history.failed] == ["no_tools"] * 4
    assert [each.provider for each in case.history.failed] == ["p", "p", "q", "r"]


async def test_d10_the_failure_lists_the_outcome_of_each_attempt() -> None:
    case = _Case()
    case.fails("a", "server_error")
    case.fails("a", "server_error")
    case.fails("c", "stalled")
    with pytest.raises(GaveUp) as caught:
        case.fails("d", "malformed")
    assert str(caught.value) == (
        "4 attempts failed: a: server_error it was (2 times); c: stalled it was; d: malformed it was"
    )
    assert describe_failures([]) == ""


async def test_the_list_of_failed_attempts_is_bounded() -> None:
    case = _Case()
    for _ in range(30):
        case.fails("a", "rate_limited")
    case.fails("c", "rate_limited")
    assert len(case.history.failed) == 20
    assert case.history.failed[-1].model == "c"


def _helped() -> _Case:
    """A worker in which half of the further attempts at `a` succeed."""
    case = _Case()
    for _ in range(10):
        other = case.parts.execution(lasts_s=60)
        for _ in range(2):
            case.next.after_failure(other, "a", ProviderFailure("broken_stream", "cut"))
        case.next.after_success(other, "a")
    return case


async def test_d2_a_request_has_more_attempts_where_they_help_others() -> None:
    case = _helped()
    for _ in range(7):
        case.fails("a", "broken_stream")
    with pytest.raises(GaveUp, match="8 attempts failed"):
        case.fails("a", "broken_stream")


async def test_d2_a_request_has_four_attempts_where_others_need_one() -> None:
    case = _Case()
    for _ in range(10):
        case.next.after_success(case.parts.execution(lasts_s=60), "a")
    for _ in range(3):
        case.fails("a", "broken_stream")
    with pytest.raises(GaveUp, match="4 attempts failed"):
        case.fails("a", "broken_stream")


async def test_d2_an_unproved_rate_limit_uses_attempts_and_backs_off() -> None:
    case = _Case()
    case.fails("a", "rate_limited", error=ProviderError(message="too many requests", status=500))
    assert case.history.failures == 1
    assert case.again_in_s("a") > 0


async def test_each_credential_is_called_once_where_none_is_excluded() -> None:
    case = _Case()
    *others, last = case.parts.availability.usable("a", loop_now_s())
    for key in others:
        case.history.refused_keys.add(key)
        case.fails("a", "credentials")
        assert "a" not in case.history.excluded
    case.history.refused_keys.add(last)
    case.fails("a", "credentials")
    assert "a" in case.history.excluded


async def test_a_credential_without_quota_is_not_tried_in_a_loop() -> None:
    case = _Case()
    keys = case.parts.availability.usable("a", loop_now_s())
    case.history.refused_keys.add(keys[0])
    for _ in range(len(keys) + 2):
        case.fails("a", "credentials")
    assert "a" in case.history.excluded


async def test_d2_a_call_during_which_the_worker_was_frozen_is_repeated_at_once_and_uses_up_nothing() -> None:
    case = _Case()
    for _ in range(3):
        case.fails("a", "interrupted", connected=False)
        assert case.history.failures == 0
        assert case.history.connect_failures == 0
        assert not case.history.excluded
        assert case.again_in_s("a") <= 0
    assert health_of("interrupted") == "neutral"


async def test_d2_a_request_that_permits_no_other_attempt_gets_none_after_a_freeze() -> None:
    case = _Case()
    case.execution.work = replace(case.execution.work, rescue="none")
    with pytest.raises(GaveUp):
        case.fails("a", "interrupted")
