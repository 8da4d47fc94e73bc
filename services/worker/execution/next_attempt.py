"""What follows for a request from one failed attempt: which models it may still use, from when on, or that it ends."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from penstock.bus.clock import loop_now_s
from penstock.contract.reply import FailedAttempt
from penstock.runtime.config.catalogue import Catalogue, Retry
from services.worker.execution.rescue import why_no_other_attempt
from services.worker.execution.state import GaveUp, Job, Stay
from services.worker.models.availability import Availability
from services.worker.models.backoff import allowed_attempts, away_s, delay_s, of_lane, spread_s
from services.worker.models.success_rate import RecentCalls
from services.worker.providers.errors.failures import FailureKind, ProviderFailure

__all__ = ["NextAttempt", "in_words"]

_KEPT: Final = 20
"""Failed attempts that the terminal event tells of; the newest are kept."""
_WORDS_OF_EACH: Final = 200
"""Characters of a provider's message where several are told in one sentence."""
_ONCE_MORE: Final[dict[FailureKind, int]] = {"parameter": 4, "random_refusal": 1}
"""How often models are called again for one request. A parameter is left out each time, and there are several."""
_AWAY: Final[tuple[FailureKind, ...]] = ("connection", "server_error")
"""Failures of a provider that is restarting: the next attempts are spread over the time that is left."""
_SLACK_S: Final = 0.25
"""How long after its time a model is waited for: its quota may come a moment later ..."""
_REOPENING_S: Final = 2.0
"""... and after a pause, when one request goes first and the others follow, this much later (`limits/reopening.py`)."""


class NextAttempt:
    """Applies the table of failures to one request; what all requests share is for `Lessons`."""

    def __init__(self, catalogue: Catalogue, availability: Availability, random: Callable[[], float]) -> None:
        self._catalogue = catalogue
        self._availability = availability
        self._random = random
        self._retries = {model: RecentCalls() for model in catalogue.models}
        """Ends of attempts of requests that had failed before: whether another attempt helps."""

    def succeeded(self, job: Job, model: str) -> None:
        """`model` answered."""
        self._availability.unreachable.connected(self._availability.providers[model])
        if job.failures:
            self._retries[model].add(succeeded=True, now_s=loop_now_s())

    def after(self, job: Job, model: str, failure: ProviderFailure) -> None:
        """Note what the failure rules out. Raises GaveUp when no attempt is left for the request."""
        verdict = failure.verdict
        job.last_failure, job.stay = failure, None
        self._note(job, model, failure)
        self._note_connection(job, model, failure)
        why = why_no_other_attempt(job.work.rescue, begun=True, text_sent=job.output_sent)
        if why is not None:
            raise GaveUp(verdict.code, f"{model}: {failure}; {why}", failure.retry_after_s)
        if verdict.scope == "credential" and self._has_other_key(job, model):
            return  # with another credential, or with the new key of this one
        if job.failures:
            self._retries[model].add(succeeded=False, now_s=loop_now_s())
        job.failures += failure.counts and failure.reached
        if verdict.action == "give_up":
            raise GaveUp(verdict.code, f"{model}: {failure}", failure.retry_after_s)
        retry = of_lane(job.role.retry, job.work.lane)
        left = self._attempts_left(job, retry)
        if verdict.action == "retry_here" and failure.counts and failure.reached and left <= 0:
            raise GaveUp(verdict.code, _all_failed(job), failure.retry_after_s)
        again_s = self._again_s(job, model, failure, left)
        if again_s is not None:
            again_at_s = loop_now_s() + again_s
            late_s = _SLACK_S if failure.counts else _SLACK_S + _REOPENING_S
            job.stay = Stay(model, again_at_s + late_s)
            if failure.counts:  # after a 429 another credential of the model may have quota at once
                job.not_before_s[model] = again_at_s
        elif verdict.action in {"elsewhere", "once_more"}:
            self._exclude(job, model, failure)
        elif failure.counts:
            self._back_off(job, model, failure, left)

    def _has_other_key(self, job: Job, model: str) -> bool:
        """Whether a credential is left that has not refused this request. One may be refused for what the request says:
        then it is not set aside for others, and each is called once.
        """
        accepted = self._availability.accepted(model, loop_now_s())
        if not any(key not in job.refused_keys for key in accepted):
            return False
        return self._once_more(job, model, "credential", len(accepted) + 1)

    def _note(self, job: Job, model: str, failure: ProviderFailure) -> None:
        error = failure.error
        attempt = FailedAttempt(
            model=model,
            provider=self._catalogue.models[model].provider,
            kind=failure.kind,
            status=failure.status,
            code=None if error is None else error.code or error.type,
            message=str(failure),
        )
        job.failed_attempts[:] = [*job.failed_attempts, attempt][-_KEPT:]

    def _note_connection(self, job: Job, model: str, failure: ProviderFailure) -> None:
        unreachable, provider = self._availability.unreachable, self._availability.providers[model]
        if failure.reached:
            unreachable.connected(provider)
        else:
            unreachable.failed(provider, loop_now_s())
            job.unreached += 1

    def _attempts_left(self, job: Job, retry: Retry) -> int:
        """By the model of the chain at which further attempts help most; over all workers no more than twice
        `max_attempts`, of which two are left to the worker that holds the request.
        """
        now_s, most = loop_now_s(), retry.max_attempts
        shares = (self._retries[model].success_share(now_s) for model in job.role.chain)
        allowed = max((allowed_attempts(most, share) for share in shares), default=most)
        own = job.failures - job.counted_before
        return min(allowed - job.failures, max(min(2, most), 2 * most - job.carried) - own)

    def _again_s(self, job: Job, model: str, failure: ProviderFailure, left: int) -> float | None:
        """In how many seconds the same model is tried once more; None: it is not."""
        kind, said_s = failure.kind, failure.retry_after_s
        wait_s = job.role.wait_s
        if kind == "rate_limited":
            if said_s is None or said_s > wait_s or not self._once_more(job, model, kind, 1):
                return None
            return said_s
        if failure.verdict.action == "once_more":
            where = "" if kind == "parameter" else model
            return 0.0 if self._once_more(job, where, kind, _ONCE_MORE.get(kind, 1)) else None
        if kind not in _AWAY or job.output_sent or left <= 1 or (said_s or 0.0) > wait_s:
            return None
        if not self._once_more(job, "", "away", job.role.retry.same_model):
            return None
        return delay_s(1, job.role.retry, self._random, said_s)

    def _once_more(self, job: Job, model: str, reason: str, most: int) -> bool:
        if job.once_more[model, reason] >= most:
            return False
        job.once_more[model, reason] += 1
        return True

    def _back_off(self, job: Job, model: str, failure: ProviderFailure, left: int) -> None:
        """What failed before at the same provider is not called sooner: the last attempts would be used up on it. Where
        no connection can be made, all models of the provider are as far away.
        """
        retry, now_s = of_lane(job.role.retry, job.work.lane), loop_now_s()
        left_s, interactive = job.deadline_s - now_s, job.work.lane == "interactive"
        wait_s = delay_s(max(1, job.failures), retry, self._random, _worth_waiting(failure, retry, left_s))
        alike = {model}
        if not failure.reached:
            alike.update(self._of_same_provider(job, model))
            wait_s = (
                away_s(job.unreached, left_s, retry, self._random)
                if interactive
                else delay_s(job.unreached, retry, self._random, None)
            )
        elif failure.kind in _AWAY and interactive:
            alike.update(each for each in self._of_same_provider(job, model) if each in job.not_before_s)
            wait_s = max(wait_s, spread_s(max(1, left), left_s, retry, self._random))
        for each in alike:
            job.not_before_s[each] = max(job.not_before_s.get(each, 0.0), now_s + wait_s)

    def _of_same_provider(self, job: Job, model: str) -> Iterable[str]:
        models = self._catalogue.models
        return (key for key in job.role.chain if models[key].provider == models[model].provider)

    def _exclude(self, job: Job, model: str, failure: ProviderFailure) -> None:
        """Too long for this model is too long for every model that reads no more."""
        job.excluded.add(model)
        if failure.kind == "not_found" or failure.verdict.scope == "credential":
            job.excluded_here.add(model)
        if failure.kind == "context_length":
            models = self._catalogue.models
            limit = models[model].context_tokens
            job.excluded.update(key for key in job.role.chain if models[key].context_tokens <= limit)


def _worth_waiting(failure: ProviderFailure, retry: Retry, left_s: float) -> float | None:
    """How long the provider asks to be left alone, `cap_s` at most; None where the request would be over by then."""
    said_s = failure.retry_after_s
    return None if said_s is None or min(said_s, retry.cap_s) >= left_s else min(said_s, retry.cap_s)


def _all_failed(job: Job) -> str:
    """No more attempts are named than are known here."""
    number = job.failures - job.counted_before
    earlier = ", after those of other workers" if job.carried else ""
    return f"{number} attempts failed{earlier}: {in_words(job.failed_attempts)}"


def in_words(attempts: Iterable[FailedAttempt]) -> str:
    """What each of them met, in their order; what several met is told once."""
    times: dict[str, int] = {}
    for attempt in attempts:
        words = f"{attempt.model}: {attempt.message[:_WORDS_OF_EACH]}"
        times[words] = times.get(words, 0) + 1
    return "; ".join(words if n == 1 else f"{words} ({n} times)" for words, n in times.items())
