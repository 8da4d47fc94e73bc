"""What the outcome of an attempt teaches: breakers, pauses, withdrawn models, and whether another try is left."""

from __future__ import annotations

import logging
from typing import Final

from penstock.bus.clock import loop_now_s
from penstock.contract.events import BreakerChanged, ModelAvailabilityChanged, QuotaPaused
from services.worker.credentials.changes import KeyNews
from services.worker.execution.equipment import Equipment
from services.worker.execution.state import Job
from services.worker.models.breaker import Admission, Transition
from services.worker.models.distinct_contents import DistinctContents
from services.worker.models.roster import Change
from services.worker.providers.errors.evidence import (
    proves_key_refused,
    proves_model_missing,
    proves_money_spent,
)
from services.worker.providers.errors.failures import Health, ProviderFailure
from services.worker.rate_limit.cooldown import CooldownLengths, plausible_retry_s
from services.worker.rate_limit.quota import QuotaKey

__all__ = ["Lessons"]

_log: Final = logging.getLogger(__name__)
_GAUGE: Final = {"closed": 0, "half_open": 1, "open": 2}
_SAME_CONTENT_S: Final = 10.0
"""Seconds in which the failures of requests with the same content count as one in the breaker. One request with all its
attempts, or two, cannot open it; a health check or a cron job that always sends the same can, within a minute."""
_SEVERAL: Final = 3
"""As many requests with different content must receive a refusal of unclear scope before it counts against the model
or the credential."""


class Lessons:
    """Applies them to the state that all requests of the worker share, and tells everybody."""

    def __init__(self, equipment: Equipment, key_news: KeyNews) -> None:
        self._equipment = equipment
        self._key_news = key_news
        self._availability = equipment.availability
        self._pauses = CooldownLengths()
        self._failures = DistinctContents(_SAME_CONTENT_S)
        """By model: failures of unclear scope that its breaker has counted."""
        self._refusals = DistinctContents()
        """By model: refusals of unclear scope."""
        self._suspicions = DistinctContents()
        """By what they concern: refusals that are said to be a key's, an account's or a model's, and not proved."""

    def of_failure(self, job: Job, model: str, failure: ProviderFailure) -> None:
        """What one failed call of `model` says of what requests share, beside the breaker, the key and the pause."""
        if failure.kind == "not_found" and (
            self._proves_missing(model, failure) or self._suspected(job, model)
        ):
            self.model_changed(self._availability.roster.not_found(model, loop_now_s()))

    def health_of(self, job: Job, model: str, failure: ProviderFailure) -> Health:
        """What the failure says of the model. It counts once per content of a request in `_SAME_CONTENT_S`, as the
        content may be what makes the call fail; a connection that breaks is no request's doing, and always counts.
        """
        verdict = failure.verdict
        if verdict.health == "failure" and verdict.scope in {"unclear", "model"}:
            return "failure" if self._failures.add(model, _content(job), loop_now_s()) else "repeated"
        return verdict.health

    def of_call(self, model: str, admission: Admission, health: Health) -> None:
        """Report an admitted call's end to its breaker."""
        breaker = self._availability.breakers[model]
        report = {
            "success": breaker.succeeded,
            "failure": breaker.failed,
            "neutral": breaker.abandoned,
            "repeated": breaker.repeated,
        }[health]
        self.breaker_moved(model, report(admission, loop_now_s()))
        if health == "failure":
            self._left_out(self._availability.sit_out.failed(model, loop_now_s()))

    def of_success(self, key: QuotaKey, began_s: float) -> None:
        self._pauses.succeeded(key, began_s=began_s)
        self._failures.clear(key.model)
        self._refusals.clear(key.model)
        self._suspicions.clear(key.model)
        self._suspicions.clear(_name(key))
        self._key_news.answered(key, began_s)
        self.model_changed(self._availability.roster.answered(key.model))

    def of_refusal(self, job: Job, key: QuotaKey, failure: ProviderFailure, began_s: float) -> None:
        """Apply a failed call to what requests share, by its scope: nothing follows from what concerns one request."""
        if failure.pauses:
            self._of_rate_limit(key, failure, began_s)
        elif failure.verdict.scope == "credential":
            if not self._availability.refusals.rotated_since(key.credential, began_s):
                job.refused_keys.add(key)
            if _proves(failure) or self._suspected(job, _name(key)):
                self._set_aside(key, failure, began_s)
        elif failure.kind == "unclear" and self._several(job, key.model):
            if failure.status == 404:
                self.model_changed(self._availability.roster.not_found(key.model, loop_now_s()))
            else:
                self._key_news.refused(key, failure, began_s)

    def _set_aside(self, key: QuotaKey, failure: ProviderFailure, began_s: float) -> None:
        if failure.kind == "budget_spent":
            self._key_news.spent(key, failure, began_s)
        else:
            self._key_news.refused(key, failure, began_s)

    def _proves_missing(self, model: str, failure: ProviderFailure) -> bool:
        error = failure.error
        return error is None or proves_model_missing(error, self._equipment.catalogue.model_name(model))

    def _suspected(self, job: Job, name: str) -> bool:
        """Whether requests with different content agree about what is called `name`."""
        return self._suspicions.add(name, _content(job), loop_now_s()) >= _SEVERAL

    def _several(self, job: Job, model: str) -> bool:
        """Whether the model refuses requests whatever they say."""
        return self._refusals.add(model, _content(job), loop_now_s()) >= _SEVERAL

    def _of_rate_limit(self, key: QuotaKey, failure: ProviderFailure, began_s: float) -> None:
        """Pause the (credential, model), for as long as the provider said or longer."""
        now_s = loop_now_s()
        said_s = plausible_retry_s(failure.retry_after_s)
        self._availability.quota.refused(key, said_s, began_s, now_s)
        pause_s = self._pauses.pause_s(key, said_s, began_s=began_s, now_s=now_s)
        if pause_s == 0.0:
            return
        self._availability.quota.pause(key, now_s + pause_s, str(failure))
        now_ms = self._equipment.clock.unix_ms()
        self._equipment.announcer.announce(
            QuotaPaused(
                worker=self._equipment.instance,
                provider=self._equipment.catalogue.models[key.model].provider,
                model=key.model,
                credential=key.credential,
                until_ms=now_ms + int(pause_s * 1000),
                at_ms=now_ms,
            )
        )

    def breaker_moved(self, model: str, transition: Transition | None) -> None:
        if transition is None:
            return
        _log.warning("the breaker of %s went from %s to %s", model, transition.before, transition.after)
        self._equipment.metrics.breaker.labels(model).set(_GAUGE[transition.after])
        self._equipment.announcer.announce(
            BreakerChanged(
                worker=self._equipment.instance,
                provider=self._equipment.catalogue.models[model].provider,
                model=model,
                before=transition.before,
                after=transition.after,
                at_ms=self._equipment.clock.unix_ms(),
            )
        )

    def model_changed(self, change: Change | None) -> None:
        """A model was withdrawn, or is back (REQUIREMENTS A5)."""
        if change is None:
            return
        catalogue = self._equipment.catalogue
        roles = tuple(role for role, config in catalogue.roles.items() if change.model in config.chain)
        provider = catalogue.models[change.model].provider
        _log.warning(
            "%s %s by %s; roles: %s",
            change.model,
            "is withdrawn" if change.withdrawn else "is served again",
            provider,
            ", ".join(roles),
        )
        self._equipment.metrics.withdrawn.labels(change.model).set(change.withdrawn)
        self._equipment.announcer.announce(
            ModelAvailabilityChanged(
                worker=self._equipment.instance,
                provider=provider,
                model=change.model,
                served=not change.withdrawn,
                roles=roles,
                at_ms=self._equipment.clock.unix_ms(),
            )
        )

    def _left_out(self, provider: str | None) -> None:
        """A provider is not drawn in weighted steps for a while (REQUIREMENTS A7)."""
        if provider is None:
            return
        for_s = self._equipment.catalogue.sit_out_s
        _log.warning("the provider %s failed: it is not drawn in weighted steps for %g s", provider, for_s)
        self._equipment.metrics.left_out.labels(provider).inc()


def _proves(failure: ProviderFailure) -> bool:
    """Whether one refusal of a credential or its account is enough."""
    error = failure.error
    if error is None:
        return True
    return proves_money_spent(error) if failure.kind == "budget_spent" else proves_key_refused(error)


def _name(key: QuotaKey) -> str:
    return f"{key.credential} {key.model}"


def _content(job: Job) -> int:
    return hash(bytes(job.work.body))
