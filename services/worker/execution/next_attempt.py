"""What one failed attempt means for its request: which models it may still use, from when on, or that it ends."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from penstock.bus.clock import loop_now_s
from penstock.contract.names import Rescue
from penstock.contract.reply import FailedAttempt
from penstock.runtime.config.catalogue import Catalogue, RetrySettings
from penstock.runtime.outbound.breaker import SuccessRate
from services.worker.execution.state import AttemptHistory, CallState, GaveUp, SameModelRetry
from services.worker.models.availability import Availability
from services.worker.models.backoff import (
    allowed_attempts,
    delay_s,
    for_lane,
    restart_delay_s,
    unreachable_delay_s,
)
from services.worker.providers.errors.failures import FailureKind, ProviderFailure

__all__ = ["NextAttempt", "describe_failures", "why_no_other_attempt"]

_REPORTED: Final = 20
"""Number of failed attempts that the terminal event lists; the newest are kept."""
_MESSAGE_CHARACTERS: Final = 200
"""Characters of a provider's message in a list of several."""
_REPEATS: Final[dict[FailureKind, int]] = {"parameter": 4, "random_refusal": 1}
"""How often a model is called again for one request. Each repeat omits one more refused parameter."""
_RESTARTING: Final[tuple[FailureKind, ...]] = ("connection", "server_error")
"""Failures of a provider that may be restarting: the next attempts are spread over the time that is left."""
_INTERRUPTIONS: Final = 5
"""How often a request is tried again at once, without using up an attempt, after this process was frozen."""
_GRACE_S: Final = 0.25
"""Seconds for which a model is waited for after the time of its next call: its quota may come a moment later."""
_HALF_OPEN_GRACE_S: Final = 2.0
"""Seconds that `_GRACE_S` is longer after a pause, when one request goes first and the others follow
(`rate_limit/pause.py`)."""


class NextAttempt:
    """Applies the table of failures to one request; `Outcomes` applies it to the shared state."""

    def __init__(self, catalogue: Catalogue, availability: Availability, random: Callable[[], float]) -> None:
        self._catalogue = catalogue
        self._availability = availability
        self._random = random
        self._retries = {model: SuccessRate() for model in catalogue.models}
        """Outcomes of attempts of requests that had failed before, which show whether another attempt helps."""

    def after_success(self, execution: CallState, model: str) -> None:
        self._availability.connect_failures.record_connection(self._availability.providers[model])
        if execution.history.failures:
            self._retries[model].record(succeeded=True, now_s=loop_now_s())

    def after_failure(self, execution: CallState, model: str, failure: ProviderFailure) -> None:
        """Note what the failure rules out. Raises GaveUp when no attempt is left for the request."""
        handling, history = failure.handling, execution.history
        history.last_failure, history.same_model = failure, None
        self._note(history, model, failure)
        self._note_connection(history, model, failure)
        why = why_no_other_attempt(execution.work.rescue, begun=True, text_sent=history.output_sent)
        if why is not None:
            raise GaveUp(handling.code, f"{model}: {failure}; {why}", failure.retry_after_s)
        if self._repeats_at_once(history, model, failure):
            return
        if history.failures:
            self._retries[model].record(succeeded=False, now_s=loop_now_s())
        history.failures += failure.uses_attempt and failure.connected
        if handling.action == "give_up":
            raise GaveUp(handling.code, f"{model}: {failure}", failure.retry_after_s)
        left = self._attempts_left(execution)
        if handling.action == "retry_here" and failure.uses_attempt and failure.connected and left <= 0:
            raise GaveUp(handling.code, _all_failed(history), failure.retry_after_s)
        again_s = self._again_s(execution, model, failure, left)
        if again_s is not None:
            again_at_s = loop_now_s() + again_s
            late_s = _GRACE_S if failure.uses_attempt else _GRACE_S + _HALF_OPEN_GRACE_S
            history.same_model = SameModelRetry(model, again_at_s + late_s)
            if failure.uses_attempt:  # after a 429 another credential of the model may have quota at once
                history.not_before_s[model] = again_at_s
        elif handling.action in {"elsewhere", "once_more"}:
            self._exclude(execution, model, failure)
        elif failure.uses_attempt:
            self._back_off(execution, model, failure, left)

    def _repeats_at_once(self, history: AttemptHistory, model: str, failure: ProviderFailure) -> bool:
        """Whether it is tried again without using up an attempt: after a freeze of this process, with another
        credential, or with the new key of this one.
        """
        if failure.kind == "interrupted":
            return _repeat(history, "", failure.kind, _INTERRUPTIONS)
        return failure.handling.scope == "credential" and self._has_other_key(history, model)

    def _has_other_key(self, history: AttemptHistory, model: str) -> bool:
        """Whether a credential is left that has not refused this request. The content of a request may cause the
        refusal, so each credential is tried once, and a refused one stays in use for other requests.
        """
        accepted = self._availability.accepted(model, loop_now_s())
        if not any(key not in history.refused_keys for key in accepted):
            return False
        return _repeat(history, model, "credential", len(accepted) + 1)

    def _note(self, history: AttemptHistory, model: str, failure: ProviderFailure) -> None:
        error = failure.error
        attempt = FailedAttempt(
            model=model,
            provider=self._catalogue.models[model].provider,
            kind=failure.kind,
            status=failure.status,
            code=None if error is None else error.code or error.type,
            message=str(failure),
        )
        history.failed[:] = [*history.failed, attempt][-_REPORTED:]

    def _note_connection(self, history: AttemptHistory, model: str, failure: ProviderFailure) -> None:
        unreachable, provider = self._availability.connect_failures, self._availability.providers[model]
        if failure.kind == "interrupted":
            return
        if failure.connected:
            unreachable.record_connection(provider)
        else:
            unreachable.record_failure(provider, loop_now_s())
            history.connect_failures += 1

    def _attempts_left(self, execution: CallState) -> int:
        """The number of attempts left, by the model of the chain at which further attempts help most. All workers
        together make at most twice `max_attempts`, of which two are left to the worker that has the request.
        """
        history, role = execution.history, execution.role
        now_s, most = loop_now_s(), for_lane(role.retry, execution.work.lane).max_attempts
        shares = (self._retries[model].success_share(now_s) for model in role.chain)
        allowed = max((allowed_attempts(most, share) for share in shares), default=most)
        own = history.failures - history.earlier_failures
        return min(allowed - history.failures, max(min(2, most), 2 * most - history.earlier) - own)

    def _again_s(self, execution: CallState, model: str, failure: ProviderFailure, left: int) -> float | None:
        """In how many seconds the same model is called once more; None: it is not."""
        history, role = execution.history, execution.role
        kind, retry_after_s = failure.kind, failure.retry_after_s
        if kind == "rate_limited":
            if (
                retry_after_s is None
                or retry_after_s > role.max_model_wait_s
                or not _repeat(history, model, kind, 1)
            ):
                return None
            return retry_after_s
        if failure.handling.action == "once_more":
            where = "" if kind == "parameter" else model
            return 0.0 if _repeat(history, where, kind, _REPEATS.get(kind, 1)) else None
        if (
            kind not in _RESTARTING
            or history.output_sent
            or left <= 1
            or (retry_after_s or 0.0) > role.max_model_wait_s
        ):
            return None
        if not _repeat(history, "", "restarting", role.retry.same_model_retries):
            return None
        return delay_s(1, role.retry, self._random, retry_after_s)

    def _back_off(self, execution: CallState, model: str, failure: ProviderFailure, left: int) -> None:
        """Delay the next call of the model, and of other failed models of the provider, on which the last attempts
        would be used up. A failed connection delays all models of the provider.
        """
        history, interactive = execution.history, execution.work.lane == "interactive"
        retry, now_s = for_lane(execution.role.retry, execution.work.lane), loop_now_s()
        left_s = execution.deadline_s - now_s
        retry_after_s = _worth_waiting(failure, retry, left_s)
        wait_s = delay_s(max(1, history.failures), retry, self._random, retry_after_s)
        alike = {model}
        if not failure.connected:
            alike.update(self._of_same_provider(execution, model))
            wait_s = (
                unreachable_delay_s(history.connect_failures, left_s, retry, self._random)
                if interactive
                else delay_s(history.connect_failures, retry, self._random, None)
            )
        elif failure.kind in _RESTARTING and interactive:
            same = self._of_same_provider(execution, model)
            alike.update(each for each in same if each in history.not_before_s)
            wait_s = max(wait_s, restart_delay_s(max(1, left), left_s, retry, self._random))
        for each in alike:
            history.not_before_s[each] = max(history.not_before_s.get(each, 0.0), now_s + wait_s)

    def _of_same_provider(self, execution: CallState, model: str) -> Iterable[str]:
        models = self._catalogue.models
        return (key for key in execution.role.chain if models[key].provider == models[model].provider)

    def _exclude(self, execution: CallState, model: str, failure: ProviderFailure) -> None:
        """A request too long for this model is too long for every model with no larger context."""
        history = execution.history
        history.excluded.add(model)
        if failure.kind == "not_found" or failure.handling.scope == "credential":
            history.excluded_here.add(model)
        if failure.kind == "no_tls":  # another worker may trust the certificate
            history.excluded.update(self._of_same_provider(execution, model))
            history.excluded_here.update(self._of_same_provider(execution, model))
        if failure.kind == "context_length":
            models = self._catalogue.models
            limit = models[model].context_tokens
            history.excluded.update(
                key for key in execution.role.chain if models[key].context_tokens <= limit
            )


def why_no_other_attempt(rescue: Rescue, *, begun: bool, text_sent: bool) -> str | None:
    """Why the request's `rescue` setting forbids another attempt, in text; None: it allows one.

    `begun`: an attempt was begun, here or by another worker. `text_sent`: part of an answer was sent.
    """
    if rescue == "none" and begun:
        return "no other attempt was made: the request says rescue: none"
    if rescue == "before_output" and text_sent:
        return "no other attempt was made: text was sent, and the request says rescue: before_output"
    return None


def _repeat(history: AttemptHistory, model: str, reason: str, most: int) -> bool:
    """Count one more repeat, unless `most` were made."""
    made = history.repeats.get((model, reason), 0)
    if made >= most:
        return False
    history.repeats[model, reason] = made + 1
    return True


def _worth_waiting(failure: ProviderFailure, retry: RetrySettings, left_s: float) -> float | None:
    """The pause that the provider requests, at most `max_backoff_s`; None where it would last until the deadline."""
    retry_after_s = failure.retry_after_s
    if retry_after_s is None:
        return None
    pause_s = min(retry_after_s, retry.max_backoff_s)
    return pause_s if pause_s < left_s else None


def _all_failed(history: AttemptHistory) -> str:
    """Only the attempts of this worker are counted and listed."""
    number = history.failures - history.earlier_failures
    earlier = ", after those of other workers" if history.earlier else ""
    return f"{number} attempts failed{earlier}: {describe_failures(history.failed)}"


def describe_failures(attempts: Iterable[FailedAttempt]) -> str:
    """The failures in their order; equal ones are listed once, with their number."""
    times: dict[str, int] = {}
    for attempt in attempts:
        text = f"{attempt.model}: {attempt.message[:_MESSAGE_CHARACTERS]}"
        times[text] = times.get(text, 0) + 1
    return "; ".join(text if n == 1 else f"{text} ({n} times)" for text, n in times.items())
