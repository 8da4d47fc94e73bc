"""What happens to credentials, applied to the state all requests share and told to everybody (REQUIREMENTS A6)."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final

from penstock.bus.clock import loop_now_s
from penstock.runtime.config.catalogue import Catalogue
from services.worker.announcer import Announcer
from services.worker.credentials.keyring import InvalidKeyFile, Keyring, RotatedKey
from services.worker.credentials.refusals import CredentialRefusals
from services.worker.metrics import WorkerMetrics
from services.worker.providers.errors.failures import ProviderFailure
from services.worker.providers.protocol import Provider
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

    def began(self, now_s: float) -> None:
        """Report at the start which keys are missing, unreadable or too old; `now_s`: seconds since 1970."""
        self._metrics.credential_max_age.set(self._keyring.max_age_days)
        for credential in self._keyring.names:
            if self._keyring.value(credential) is None:
                self._refusals.lacks_key(credential)
        for complaint in self._keyring.first_complaints:
            self._complained(complaint)
        self.aged(now_s)

    def refused(self, key: QuotaKey, failure: ProviderFailure, began_s: float) -> None:
        """The provider refused the credential of a call."""
        if self._refusals.refused(key, began_s=began_s, now_s=loop_now_s()):
            _log.warning("the credential %s is refused for %s: %s", key.credential, key.model, failure)
            self._available(key, usable=False, why=str(failure))

    def spent(self, key: QuotaKey, failure: ProviderFailure, began_s: float) -> None:
        """Nothing is left of the account's budget: its credential is set aside for every model."""
        models = self._models(key.credential)
        if not self._refusals.spent(key.credential, models, began_s=began_s, now_s=loop_now_s()):
            return
        _log.error(
            "the budget behind the credential %s is spent; for all its models: %s", key.credential, failure
        )
        self._metrics.credential_spent.labels(key.credential).set(1)
        for model in models:
            self._available(
                QuotaKey(key.credential, model), usable=False, why=f"the budget is spent: {failure}"
            )

    def answered(self, key: QuotaKey, began_s: float) -> None:
        if self._refusals.answered(key, began_s=began_s):
            _log.warning("the credential %s is accepted again for %s", key.credential, key.model)
            self._available(key, usable=True)
        if models := self._refusals.funded(key.credential, began_s=began_s):
            _log.warning("the budget behind the credential %s is no longer spent", key.credential)
            self._metrics.credential_spent.labels(key.credential).set(0)
            for model in models:
                self._available(QuotaKey(key.credential, model), usable=True)

    def changed(self, change: RotatedKey | InvalidKeyFile) -> None:
        if isinstance(change, InvalidKeyFile):
            self._complained(change)
            return
        credential = change.credential
        key = self._keyring.value(credential)
        for provider in self._users(credential):
            if key is not None:
                self._providers[provider].set_key(credential, key)
            self._announcer.credential_rotated(provider, credential)
        for back in self._refusals.rotated(credential, loop_now_s()):
            self._available(back, usable=True)
        self._metrics.credential_spent.labels(credential).set(0)
        _log.warning("the credential %s has a new key", credential)
        self._metrics.credential_rotations.labels(credential).inc()

    def aged(self, now_s: float) -> None:
        """Set the gauge of every key's age, and report once of each key that it is too old."""
        for credential in self._keyring.names:
            age_days = self._keyring.age_days(credential, now_s)
            if age_days is not None:
                self._metrics.credential_age.labels(credential).set(age_days)
        limit_days = self._keyring.max_age_days
        for old in self._keyring.newly_old(now_s):
            _log.warning(
                "the key of the credential %s is %d days old, more than %g: change it",
                old.credential,
                old.age_days,
                limit_days,
            )
            for provider in self._users(old.credential):
                self._announcer.credential_aged(provider, old.credential, old.age_days, limit_days)

    def _complained(self, complaint: InvalidKeyFile) -> None:
        kept = self._keyring.value(complaint.credential) is not None
        rest = "the key known before stays in use" if kept else "there is no key"
        _log.warning("the file of the credential %s %s; %s", complaint.credential, complaint.why, rest)

    def _available(self, key: QuotaKey, *, usable: bool, why: str = "") -> None:
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
