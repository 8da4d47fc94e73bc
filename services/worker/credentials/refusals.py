"""Temporary exclusion of credentials that a provider refused or whose budget is spent (A6)."""

from __future__ import annotations

from msgspec import Struct

from services.worker.rate_limit.quota import QuotaKey

__all__ = ["CredentialRefusals"]


class _Spent(Struct, frozen=True):
    """A credential whose provider account has no budget left."""

    at_s: float
    """Time of the last error that reported it."""
    models: tuple[str, ...]
    """The models for which the credential is used."""


class CredentialRefusals:
    """Refusals per (credential, model), because a provider may refuse a key for some models only; a spent
    budget excludes a credential for all models. Times are monotonic seconds.

    A refused credential is excluded for `cooldown_s` while another one is accepted. If none is accepted, all are tried,
    so that a mistaken refusal does not stop a model with a single key. A refusal ends, and its end is reported, only
    when a call is answered or the credential gets a new key. A credential without a key is never used.
    """

    def __init__(self, cooldown_s: float) -> None:
        self._cooldown_s = cooldown_s
        self._refused_s: dict[QuotaKey, float] = {}
        self._spent: dict[str, _Spent] = {}
        self._rotated_s: dict[str, float] = {}
        self._keyless: set[str] = set()

    def record_missing_key(self, credential: str) -> None:
        self._keyless.add(credential)

    def usable(self, keys: tuple[QuotaKey, ...], now_s: float) -> tuple[QuotaKey, ...]:
        """The credentials to use now: the accepted ones, or all with a key if none is accepted."""
        if not self._refused_s and not self._keyless and not self._spent:
            return keys
        return self.accepted(keys, now_s) or tuple(key for key in keys if key.credential not in self._keyless)

    def accepted(self, keys: tuple[QuotaKey, ...], now_s: float) -> tuple[QuotaKey, ...]:
        """The credentials that have a key and are not excluded."""
        return tuple(key for key in keys if not self._is_excluded(key, now_s))

    def record_refusal(self, key: QuotaKey, *, began_s: float, now_s: float) -> bool:
        """Record that a call from `began_s` was refused for its credential; returns whether this is the first refusal.

        Ignored if the credential was rotated since.
        """
        if self.rotated_since(key.credential, began_s):
            return False
        first = key not in self._refused_s
        self._refused_s[key] = now_s
        return first

    def record_spent_budget(
        self, credential: str, models: tuple[str, ...], *, began_s: float, now_s: float
    ) -> bool:
        """Record that a call from `began_s` was refused for a spent budget; returns whether this is the first refusal.

        `models`: all models for which the credential is used. Ignored if the credential was rotated since.
        """
        if self.rotated_since(credential, began_s):
            return False
        first = credential not in self._spent
        self._spent[credential] = _Spent(now_s, models)
        return first

    def rotated_since(self, credential: str, began_s: float) -> bool:
        return began_s < self._rotated_s.get(credential, began_s)

    def end_spent_budget(self, credential: str, *, began_s: float) -> tuple[str, ...]:
        """Record an answered call; returns the models for which that ends a spent budget. A call that began before the
        last refusal ends nothing.
        """
        spent = self._spent.get(credential)
        if spent is None or began_s < spent.at_s:
            return ()
        del self._spent[credential]
        return spent.models

    def end_refusal(self, key: QuotaKey, *, began_s: float) -> bool:
        """Record an answered call; returns whether that ends a refusal. A call that began before the last refusal ends
        nothing.
        """
        refused_s = self._refused_s.get(key)
        if refused_s is None or began_s < refused_s:
            return False
        del self._refused_s[key]
        return True

    def record_rotation(self, credential: str, now_s: float) -> tuple[QuotaKey, ...]:
        """Record a new key, which ends all refusals of the credential; returns those that ended."""
        self._rotated_s[credential] = now_s
        self._keyless.discard(credential)
        ended = tuple(QuotaKey(credential, model) for model in self.refused_models(credential))
        self._spent.pop(credential, None)
        for key in ended:
            self._refused_s.pop(key, None)
        return ended

    def refused_models(self, credential: str) -> tuple[str, ...]:
        """The models for which the provider refuses the credential."""
        refused = tuple(key.model for key in self._refused_s if key.credential == credential)
        spent = self._spent.get(credential)
        return refused if spent is None else tuple(dict.fromkeys((*refused, *spent.models)))

    def _is_excluded(self, key: QuotaKey, now_s: float) -> bool:
        if key.credential in self._keyless:
            return True
        refused_s = self._refused_s.get(key)
        if refused_s is not None and now_s < refused_s + self._cooldown_s:
            return True
        spent = self._spent.get(key.credential)
        return spent is not None and now_s < spent.at_s + self._cooldown_s
