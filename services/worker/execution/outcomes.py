"""What the outcome of a call means for the state that all requests of the worker share: breakers, pauses, withdrawn
models, refused credentials (D11).
"""

from __future__ import annotations

import logging
from typing import Final

from penstock.bus.clock import loop_now_s
from penstock.runtime.config.catalogue import Catalogue
from penstock.runtime.outbound.breaker import BreakerAdmission, Transition
from services.worker.announcer import Announcer
from services.worker.credentials.changes import CredentialChanges
from services.worker.execution.state import CallState
from services.worker.metrics import WorkerMetrics
from services.worker.models.availability import Availability
from services.worker.models.roster import RosterChange
from services.worker.providers.errors.failures import Health, ProviderFailure
from services.worker.providers.errors.proof import (
    proves_budget_spent,
    proves_key_refused,
    proves_model_missing,
)
from services.worker.rate_limit.pause import LONGEST_RETRY_S, PauseLengths
from services.worker.rate_limit.quota import QuotaKey

__all__ = ["SPAN_S", "DistinctContents", "Outcomes"]

_log: Final = logging.getLogger(__name__)
_GAUGE: Final = {"closed": 0, "half_open": 1, "open": 2}
_SAME_CONTENT_S: Final = 10.0
"""Seconds in which the failures of requests with the same content count as one in the breaker. One request with all its
attempts, or two, cannot open it; a health check or a cron job that always sends the same can, within a minute."""
_SEVERAL: Final = 3
"""Number of requests with different content that must receive a refusal of unclear scope before it counts against the
model or the credential."""
SPAN_S: Final = 60.0
"""Default window in seconds within which requests are counted together."""
_MAX_CONTENTS: Final = 64
"""Maximum number of contents kept per key."""


class Outcomes:
    """Applies each outcome to the shared state, and announces what changed."""

    def __init__(
        self,
        catalogue: Catalogue,
        availability: Availability,
        credential_changes: CredentialChanges,
        announcer: Announcer,
        metrics: WorkerMetrics,
    ) -> None:
        self._catalogue = catalogue
        self._availability = availability
        self._credential_changes = credential_changes
        self._announcer = announcer
        self._metrics = metrics
        self._pause_lengths = PauseLengths()
        self._failures = DistinctContents(_SAME_CONTENT_S)
        """Failures of unclear scope that the breaker has counted, by model."""
        self._refusals = DistinctContents()
        """Refusals of unclear scope, by model."""
        self._suspicions = DistinctContents()
        """Refusals attributed without proof to a key, a provider account or a model, by what they concern."""

    def record_success(self, key: QuotaKey, began_s: float) -> None:
        self._pause_lengths.succeeded(key, began_s=began_s)
        if self._failures.by_key:
            self._failures.clear(key.model)
        if self._refusals.by_key:
            self._refusals.clear(key.model)
        if self._suspicions.by_key:
            self._suspicions.clear(key.model)
            self._suspicions.clear(_label(key))
        self._credential_changes.record_answer(key, began_s)
        restored = self._availability.roster.record_answer(key.model)
        if restored is not None:
            self.announce_roster_change(restored)

    def record_failure(
        self, execution: CallState, key: QuotaKey, failure: ProviderFailure, began_s: float
    ) -> Health:
        """Apply a failed call by its scope: a failure that concerns one request changes nothing.

        Returns what the failure says of the model's health, for `report_health`.
        """
        if failure.pauses_quota:
            self._pause(key, failure, began_s)
        elif failure.handling.scope == "credential":
            if not self._availability.refusals.rotated_since(key.credential, began_s):
                execution.history.refused_keys.add(key)
            if _proves(failure) or self._suspected(execution, _label(key)):
                self._exclude_credential(key, failure, began_s)
        elif failure.kind == "unclear" and self._refuses_several(execution, key.model):
            if failure.status == 404:
                self._withdraw(key.model)
            else:
                self._credential_changes.record_refusal(key, failure, began_s)
        elif failure.kind == "not_found" and (
            self._proves_missing(key.model, failure) or self._suspected(execution, key.model)
        ):
            self._withdraw(key.model)
        return self._health(execution, key.model, failure)

    def report_health(self, model: str, admission: BreakerAdmission, health: Health) -> None:
        """Report the end of an admitted call to the model's breaker."""
        breaker = self._availability.breakers[model]
        report = {
            "success": breaker.succeeded,
            "failure": breaker.failed,
            "neutral": breaker.abandoned,
            "repeated": breaker.repeated,
        }[health]
        transition = report(admission, loop_now_s())
        if transition is not None:
            self.announce_transition(model, transition)
        if health == "failure":
            self._report_cooldown(self._availability.provider_cooldown.record_failure(model, loop_now_s()))

    def announce_transition(self, model: str, transition: Transition) -> None:
        _log.warning("the breaker of %s went from %s to %s", model, transition.before, transition.after)
        self._metrics.breaker.labels(model).set(_GAUGE[transition.after])
        self._announcer.breaker_changed(model, transition.before, transition.after)

    def announce_roster_change(self, change: RosterChange | None) -> None:
        """A model was withdrawn, or is served again (A5)."""
        if change is None:
            return
        roles = tuple(role for role, config in self._catalogue.roles.items() if change.model in config.chain)
        _log.warning(
            "%s %s by %s; roles: %s",
            change.model,
            "is withdrawn" if change.withdrawn else "is served again",
            self._catalogue.models[change.model].provider,
            ", ".join(roles),
        )
        self._metrics.withdrawn.labels(change.model).set(change.withdrawn)
        self._announcer.model_availability_changed(change.model, roles, served=not change.withdrawn)

    def _health(self, execution: CallState, model: str, failure: ProviderFailure) -> Health:
        """A failure counts once per content of a request in `_SAME_CONTENT_S`, as the content may cause it; a broken
        connection always counts.
        """
        handling = failure.handling
        if handling.health == "failure" and handling.scope in {"unclear", "model"}:
            return "failure" if self._failures.add(model, _content(execution), loop_now_s()) else "repeated"
        return handling.health

    def _pause(self, key: QuotaKey, failure: ProviderFailure, began_s: float) -> None:
        """Pause the (credential, model) for as long as the provider asks, up to `LONGEST_RETRY_S`."""
        now_s, retry_after_s = loop_now_s(), failure.retry_after_s
        if retry_after_s is not None:
            retry_after_s = min(retry_after_s, LONGEST_RETRY_S)
        reported_s = None if failure.error is None else failure.error.retry_after_s
        if reported_s is not None and reported_s > LONGEST_RETRY_S:
            _log.warning(
                "%s asks to wait %.0f s; a pause lasts at most %.0f s, and a wait of more than a day is ignored",
                _label(key),
                reported_s,
                LONGEST_RETRY_S,
            )
        self._availability.quota.refused(key, retry_after_s, began_s, now_s)
        pause_s = self._pause_lengths.pause_s(key, retry_after_s, began_s=began_s, now_s=now_s)
        if pause_s > 0:
            in_force_s = self._availability.quota.pause(key, now_s + pause_s, str(failure))
            self._announcer.quota_paused(key, max(pause_s, in_force_s - now_s), str(failure))

    def _exclude_credential(self, key: QuotaKey, failure: ProviderFailure, began_s: float) -> None:
        if failure.kind == "budget_spent":
            self._credential_changes.record_spent_budget(key, failure, began_s)
        else:
            self._credential_changes.record_refusal(key, failure, began_s)

    def _withdraw(self, model: str) -> None:
        self.announce_roster_change(self._availability.roster.record_not_found(model, loop_now_s()))

    def _proves_missing(self, model: str, failure: ProviderFailure) -> bool:
        error = failure.error
        return error is None or proves_model_missing(error, self._catalogue.model_name(model))

    def _suspected(self, execution: CallState, name: str) -> bool:
        """Whether the failures of several requests with different content point at `name`."""
        return self._suspicions.add(name, _content(execution), loop_now_s()) >= _SEVERAL

    def _refuses_several(self, execution: CallState, model: str) -> bool:
        """Whether the model refused several requests with different content."""
        return self._refusals.add(model, _content(execution), loop_now_s()) >= _SEVERAL

    def _report_cooldown(self, provider: str | None) -> None:
        """A provider is chosen last in weighted steps for a while (A7)."""
        if provider is None:
            return
        cooldown_s = self._catalogue.provider_cooldown_s
        _log.warning("the provider %s failed: weighted steps avoid it for %g s", provider, cooldown_s)
        self._metrics.provider_cooldowns.labels(provider).inc()


def _proves(failure: ProviderFailure) -> bool:
    """Whether a single refusal proves that the credential or its provider account is at fault."""
    error = failure.error
    if error is None:
        return True
    return proves_budget_spent(error) if failure.kind == "budget_spent" else proves_key_refused(error)


def _label(key: QuotaKey) -> str:
    return f"{key.credential} {key.model}"


def _content(execution: CallState) -> int:
    return hash(bytes(execution.work.body))


class DistinctContents:
    """Per key, the contents first seen in the last `span_s` seconds. Bounded in memory; times must not decrease.

    Seeing a content again does not extend the time for which it counts.
    """

    __slots__ = ("_span_s", "by_key")

    def __init__(self, span_s: float = SPAN_S) -> None:
        self._span_s = span_s
        self.by_key: dict[str, dict[int, float]] = {}
        """When each content was first seen, by key and its hash."""

    def add(self, key: str, content: int, now_s: float) -> int:
        """Add a content; returns the number of contents, or 0 if it was counted already."""
        seen = self.by_key.setdefault(key, {})
        while seen and now_s - next(iter(seen.values())) >= self._span_s:  # the first is the oldest
            del seen[next(iter(seen))]
        if content in seen:
            return 0
        if len(seen) >= _MAX_CONTENTS:
            del seen[next(iter(seen))]
        seen[content] = now_s
        return len(seen)

    def clear(self, key: str) -> None:
        """Discard the contents of `key`, after a request succeeded."""
        self.by_key.pop(key, None)
