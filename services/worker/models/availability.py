"""When each model may be called, by its roster entry, credentials, breaker and quota together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import inf
from typing import Final

from penstock.contract.names import Lane
from penstock.runtime.config.catalogue import Catalogue
from penstock.runtime.outbound.breaker import CircuitBreaker
from services.worker.credentials.refusals import CredentialRefusals
from services.worker.models.choose import ModelState
from services.worker.models.provider_cooldown import ProviderCooldown
from services.worker.models.roster import Roster
from services.worker.rate_limit.quota import Need, Quota, QuotaKey

__all__ = ["Availability", "ConnectFailures"]

_UNREACHABLE_S: Final = 30.0
"""Seconds after the last failure during which the provider is reported as unreachable, so that other workers do not
hand requests over to this one."""
_AVOIDED_S: Final = 5.0
"""Seconds after the last failure during which requests are left to another worker that can reach the provider."""


class ConnectFailures:
    """Last failure by provider, until a connection succeeds. Times are the event loop's."""

    def __init__(self) -> None:
        self._failed_s: dict[str, float] = {}

    def record_failure(self, provider: str, now_s: float) -> None:
        self._failed_s[provider] = now_s

    def record_connection(self, provider: str) -> None:
        self._failed_s.pop(provider, None)

    def is_unreachable(self, provider: str, now_s: float) -> bool:
        return self._failed_within(_UNREACHABLE_S, provider, now_s)

    def is_avoided(self, provider: str, now_s: float) -> bool:
        return self._failed_within(_AVOIDED_S, provider, now_s)

    def unreachable(self, now_s: float) -> tuple[str, ...]:
        return tuple(provider for provider in self._failed_s if self.is_unreachable(provider, now_s))

    def _failed_within(self, span_s: float, provider: str, now_s: float) -> bool:
        failed_s = self._failed_s.get(provider)
        return failed_s is not None and now_s < failed_s + span_s


class Availability:
    """The state of every model, shared by all roles of the worker."""

    def __init__(
        self, catalogue: Catalogue, keys: Mapping[str, tuple[QuotaKey, ...]], quota: Quota, roster: Roster
    ) -> None:
        """`keys`: the quotas that a call of each model may use, one per credential."""
        self.breakers = {key: CircuitBreaker(catalogue.breaker) for key in catalogue.models}
        self.quota = quota
        self.roster = roster
        self.refusals = CredentialRefusals(catalogue.credential_cooldown_s)
        self.provider_cooldown = ProviderCooldown(
            catalogue.models, catalogue.roles.values(), catalogue.provider_cooldown_s
        )
        self.connect_failures = ConnectFailures()
        self.providers = {key: model.provider for key, model in catalogue.models.items()}
        self._rotation = dict.fromkeys(catalogue.models, 0)
        self._keys = keys

    def usable(self, model: str, now_s: float) -> tuple[QuotaKey, ...]:
        """The quotas whose credential has a key that the provider accepts; if it refuses all, those with any key."""
        return self.refusals.usable(self._keys[model], now_s)

    def accepted(self, model: str, now_s: float) -> tuple[QuotaKey, ...]:
        """The quotas whose credential has a key that the provider accepts."""
        return self.refusals.accepted(self._keys[model], now_s)

    def in_turn(self, model: str, now_s: float) -> tuple[QuotaKey, ...]:
        """The usable quotas, each time beginning with another one, so that credentials are used evenly."""
        keys = self.usable(model, now_s)
        if len(keys) < 2:
            return keys
        first = self._rotation[model] = (self._rotation[model] + 1) % len(keys)
        return keys[first:] + keys[:first]

    def state(self, model: str, need: Need, now_s: float, *, last_resort: bool = False) -> ModelState:
        """When `model` may be called for `need`, and what prevents the call until then.

        `last_resort`: no other model can serve the request, so a trial call through the open breaker counts too.
        """
        if self.roster.is_withdrawn(model, now_s):
            return ModelState(inf, "withdrawn")
        keys = self.usable(model, now_s)
        if not keys:
            return ModelState(inf, "credentials")
        breaker = self.breakers[model]
        breaker_s = breaker.trial_at_s(now_s) if last_resort else breaker.retry_at_s(now_s)
        if breaker_s > now_s:
            return ModelState(breaker_s, "breaker")
        wait_s = min([self.quota.wait_s(key, need, now_s) for key in keys])
        if wait_s == inf:
            return ModelState(inf, "never")
        return ModelState(now_s + wait_s, "quota" if wait_s > 0 else "ready")

    def is_unusable_here(self, model: str, now_s: float) -> bool:
        """Whether this worker cannot call `model` for a reason that may not concern the other workers."""
        return (
            self.roster.is_withdrawn(model, now_s)
            or not self.accepted(model, now_s)
            or self.connect_failures.is_avoided(self.providers[model], now_s)
        )

    def opens_in_s(
        self,
        chain: Iterable[str],
        now_s: float,
        lane: Lane = "interactive",
        *,
        last_resort: bool = False,
        quota_counts: bool = True,
    ) -> float:
        """Seconds until some model of the chain may be called for a small request; 0: now.

        Also 0 when no model ever may be called: such work is pulled and fails with the reason. `quota_counts`: False
        where a request may be of use without quota.
        """
        small = Need(0, lane)
        earliest_s = inf
        for model in chain:
            state = self.state(model, small, now_s, last_resort=last_resort)
            if state.available_at_s <= now_s or (state.reason == "quota" and not quota_counts):
                return 0.0
            earliest_s = min(earliest_s, state.available_at_s)
        return 0.0 if earliest_s == inf else earliest_s - now_s

    def answers_lately(self, chain: Iterable[str], now_s: float) -> bool:
        """Whether some model of the chain answered in the last minute."""
        return any(self.breakers[model].success_share(now_s) > 0 for model in chain)

    def all_open(self, chain: Iterable[str], now_s: float) -> bool:
        """Whether no usable model of the chain has a closed breaker, and some model has an open one."""
        found = False
        for model in chain:
            if self.breakers[model].state == "closed":
                if not self.roster.is_withdrawn(model, now_s) and self.usable(model, now_s):
                    return False
            else:
                found = True
        return found
