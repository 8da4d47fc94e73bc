"""Applies refusals, rotations and ages of credentials to the shared state and announces them (A6)."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final

from penstock.bus.clock import loop_now_s
from penstock.contract.presence import CredentialStatus
from penstock.runtime.config.catalogue import Catalogue
from services.worker.announcer import Announcer
from services.worker.credentials.keyring import InvalidKeyFile, Keyring, RotatedKey
from services.worker.credentials.refusals import CredentialRefusals
from services.worker.metrics import WorkerMetrics
from services.worker.providers.errors.failures import ProviderFailure
from services.worker.providers.provider import Provider
from services.worker.rate_limit.quota import QuotaKey

__all__ = ["CredentialChanges"]

_log: Final = logging.getLogger(__name__)


class CredentialChanges:
    """Handles names of credentials, and a key only to give it to a provider's client."""

    def __init__(
        self,
        keyring: Keyring,
        providers: Mapping[str, Provider],
        catalogue: Catalogue,
        refusals: CredentialRefusals,
        announcer: Announcer,
        metrics: WorkerMetrics,
    ) -> None:
        self._keyring = keyring
        self._providers = providers
        self._catalogue = catalogue
        self._refusals = refusals
        self._announcer = announcer
        self._metrics = metrics

    def report_initial(self, now_s: float) -> None:
        """Report at the start which keys are missing, unreadable or too old; `now_s`: seconds since 1970."""
        self._metrics.credential_max_age.set(self._keyring.max_age_days)
        for credential in self._keyring.names:
            if self._keyring.value(credential) is None:
                self._refusals.record_missing_key(credential)
        for invalid in self._keyring.initial_invalid_files:
            self._log_invalid_file(invalid)
        self.report_ages(now_s)

    def record_refusal(self, key: QuotaKey, failure: ProviderFailure, began_s: float) -> None:
        """Record that the provider refused the credential of a call."""
        if self._refusals.record_refusal(key, began_s=began_s, now_s=loop_now_s()):
            _log.warning("the credential %s is refused for %s: %s", key.credential, key.model, failure)
            self._announce_availability(key, usable=False, why=str(failure))

    def record_spent_budget(self, key: QuotaKey, failure: ProviderFailure, began_s: float) -> None:
        """Record that the provider account's budget is spent, which excludes its credential for every model."""
        models = self._models(key.credential)
        if not self._refusals.record_spent_budget(
            key.credential, models, began_s=began_s, now_s=loop_now_s()
        ):
            return
        _log.error(
            "the budget behind the credential %s is spent; for all its models: %s", key.credential, failure
        )
        self._metrics.credential_spent.labels(key.credential).set(1)
        for model in models:
            self._announce_availability(
                QuotaKey(key.credential, model), usable=False, why=f"the budget is spent: {failure}"
            )

    def record_answer(self, key: QuotaKey, began_s: float) -> None:
        """Record an answered call, which ends a refusal and a spent budget of its credential."""
        if self._refusals.end_refusal(key, began_s=began_s):
            _log.warning("the credential %s is accepted again for %s", key.credential, key.model)
            self._announce_availability(key, usable=True)
        if models := self._refusals.end_spent_budget(key.credential, began_s=began_s):
            _log.warning("the budget behind the credential %s is no longer spent", key.credential)
            self._metrics.credential_spent.labels(key.credential).set(0)
            for model in models:
                self._announce_availability(QuotaKey(key.credential, model), usable=True)

    def apply(self, change: RotatedKey | InvalidKeyFile) -> None:
        """Give a new key to the clients of its providers; log an invalid file."""
        if isinstance(change, InvalidKeyFile):
            self._log_invalid_file(change)
            return
        credential = change.credential
        key = self._keyring.value(credential)
        for provider in self._users(credential):
            if key is not None:
                self._providers[provider].set_key(credential, key)
            self._announcer.credential_rotated(provider, credential)
        for ended in self._refusals.record_rotation(credential, loop_now_s()):
            self._announce_availability(ended, usable=True)
        self._metrics.credential_spent.labels(credential).set(0)
        _log.warning("the credential %s has a new key", credential)
        self._metrics.credential_rotations.labels(credential).inc()

    def report_ages(self, now_s: float) -> None:
        """Set the gauge of every key's age, and announce each key that is too old once."""
        for credential in self._keyring.names:
            age_days = self._keyring.age_days(credential, now_s)
            if age_days is not None:
                self._metrics.credential_age.labels(credential).set(age_days)
        limit_days = self._keyring.max_age_days
        for overdue in self._keyring.newly_overdue(now_s):
            _log.warning(
                "the key of the credential %s is %d days old, more than %g: change it",
                overdue.credential,
                overdue.age_days,
                limit_days,
            )
            for provider in self._users(overdue.credential):
                self._announcer.credential_aged(provider, overdue, limit_days)

    def status(self, now_s: float) -> tuple[CredentialStatus, ...]:
        """Every credential, without its key; `now_s`: seconds since 1970."""
        keyring = self._keyring
        return tuple(
            CredentialStatus(
                credential=credential,
                provider=name,
                age_days=keyring.age_days(credential, now_s),
                max_age_days=keyring.max_age_days,
                refused_for=self._refusals.refused_models(credential),
                file_problem=keyring.file_error(credential),
            )
            for name, provider in self._providers.items()
            for credential in provider.credentials
            if credential in keyring.names
        )

    def providers_without_key(self) -> tuple[str, ...]:
        """Providers that need a key and have none."""
        configured = self._catalogue.providers
        return tuple(
            name
            for name in self._providers
            if (keys := configured[name].api_key_env) and not any(self._keyring.value(key) for key in keys)
        )

    def _log_invalid_file(self, invalid: InvalidKeyFile) -> None:
        kept = self._keyring.value(invalid.credential) is not None
        rest = "the key known before stays in use" if kept else "there is no key"
        _log.warning("the file of the credential %s %s; %s", invalid.credential, invalid.why, rest)

    def _announce_availability(self, key: QuotaKey, *, usable: bool, why: str = "") -> None:
        self._metrics.credential_refused.labels(key.credential, key.model).set(not usable)
        self._announcer.credential_availability_changed(key, usable=usable, why=why)

    def _users(self, credential: str) -> list[str]:
        """The providers that the credential belongs to."""
        return [name for name, provider in self._providers.items() if credential in provider.credentials]

    def _models(self, credential: str) -> tuple[str, ...]:
        """The models of the catalogue that are called with the credential."""
        providers = self._users(credential)
        return tuple(
            model for model, config in self._catalogue.models.items() if config.provider in providers
        )
