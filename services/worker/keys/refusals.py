"""Credentials that a provider refused are left out for a while, and their sisters go on (REQUIREMENTS A6)."""

from __future__ import annotations

from services.worker.limits.quota import QuotaKey

__all__ = ["Refusals"]


class Refusals:
    """Per (credential, model): some keys are refused for some models only. Instants are seconds of one monotonic clock.

    A credential that was refused stands back for `rest_s` as long as another is accepted; where none is, they are all
    tried, so that one refusal by mistake stops nobody who has a single key. The refusal is over, and told as such, only
    when a call is answered or the credential has another key. A credential without a key is never used.
    """

    def __init__(self, rest_s: float) -> None:
        self._rest_s = rest_s
        self._refused_s: dict[QuotaKey, float] = {}
        self._rotated_s: dict[str, float] = {}
        self._keyless: set[str] = set()

    def lacks_key(self, credential: str) -> None:
        self._keyless.add(credential)

    def usable(self, keys: tuple[QuotaKey, ...], now_s: float) -> tuple[QuotaKey, ...]:
        """Those to use now."""
        if not self._refused_s and not self._keyless:
            return keys
        return self.accepted(keys, now_s) or tuple(key for key in keys if key.credential not in self._keyless)

    def accepted(self, keys: tuple[QuotaKey, ...], now_s: float) -> tuple[QuotaKey, ...]:
        """Those that have a key of which nothing bad is known."""
        return tuple(key for key in keys if not self._is_out(key, now_s))

    def refused(self, key: QuotaKey, *, began_s: float, now_s: float) -> bool:
        """A call that began at `began_s` was refused for its credential: whether that is news.

        Nothing follows where the credential has got another key since.
        """
        if began_s < self._rotated_s.get(key.credential, began_s):
            return False
        news = key not in self._refused_s
        self._refused_s[key] = now_s
        return news

    def answered(self, key: QuotaKey, *, began_s: float) -> bool:
        """A call was answered: whether the credential was refused until then. The answer to a call that began before
        the last refusal says nothing of what is now.
        """
        refused_s = self._refused_s.get(key)
        if refused_s is None or began_s < refused_s:
            return False
        del self._refused_s[key]
        return True

    def rotated(self, credential: str, now_s: float) -> tuple[QuotaKey, ...]:
        """It has a new key: what was refused with the old one may be used again."""
        self._rotated_s[credential] = now_s
        self._keyless.discard(credential)
        back = tuple(key for key in self._refused_s if key.credential == credential)
        for key in back:
            del self._refused_s[key]
        return back

    def models(self, credential: str) -> tuple[str, ...]:
        """The models for which the provider refuses it, as far as is known."""
        return tuple(key.model for key in self._refused_s if key.credential == credential)

    def _is_out(self, key: QuotaKey, now_s: float) -> bool:
        if key.credential in self._keyless:
            return True
        refused_s = self._refused_s.get(key)
        return refused_s is not None and now_s < refused_s + self._rest_s
