"""What follows for a request from one failed attempt: which models it may still use, from when on, or that it ends."""

from __future__ import annotations

from collections.abc import Callable

from penstock.clock import loop_now_s
from penstock.config.catalogue import Catalogue
from services.worker.availability import Availability
from services.worker.backoff import delay_s, of_lane
from services.worker.failures import ProviderFailure
from services.worker.job import GaveUp, Job

__all__ = ["NextAttempt"]


class NextAttempt:
    """Applies the table of failures to one request; what all requests share is for `Lessons`."""

    def __init__(self, catalogue: Catalogue, availability: Availability, random: Callable[[], float]) -> None:
        self._catalogue = catalogue
        self._availability = availability
        self._random = random

    def after(self, job: Job, model: str, failure: ProviderFailure) -> None:
        """Note what the failure rules out. Raises GaveUp when no attempt is left for the request."""
        verdict = failure.verdict
        job.last_failure = failure
        if verdict.scope == "credential" and self._availability.accepted(model, loop_now_s()):
            return  # with another credential, or with the new key of this one
        job.failures += verdict.counts
        if verdict.action == "give_up":
            raise GaveUp(verdict.code, f"{model}: {failure}", failure.retry_after_s)
        retry = of_lane(job.role.retry, job.work.lane)
        if job.failures >= retry.max_attempts:
            message = f"{job.failures} attempts failed; the last one at {model}: {failure}"
            raise GaveUp(verdict.code, message, failure.retry_after_s)
        if verdict.action in {"elsewhere", "once_more"}:
            self._exclude(job, model, failure)
        elif verdict.counts:
            wait_s = delay_s(job.failures, retry, self._random, failure.retry_after_s)
            job.not_before_s[model] = loop_now_s() + wait_s

    def _exclude(self, job: Job, model: str, failure: ProviderFailure) -> None:
        """Too long for this model is too long for every model that reads no more."""
        job.excluded.add(model)
        if failure.kind == "context_length":
            models = self._catalogue.models
            limit = models[model].context_tokens
            job.excluded.update(key for key in job.role.chain if models[key].context_tokens <= limit)
