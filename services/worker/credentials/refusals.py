"""Credentials that a provider refused, or whose account has no money left, are set aside for a while, and the others of
the provider are used (REQUIREMENTS A6).
"""

from __future__ import annotations

from msgspec import Struct

from services.worker.rate_limit.quota import QuotaKey

__all__ = ["Refusals"]


class _Spent(Struct, frozen=True):
    """An account without money: when its provider said so last, and the models it is used for."""

    at_s: float
    models: tuple[str, ...]


class Refusals:
    """Per (credential, model): some keys are refused for some models only; a spent account is so for every model.
    Instants are seconds of one monotonic clock.

    A credential that was refused is set aside for `rest_s` as long as another is accepted; where none is, all are
    tried, so that one refusal by mistake does not stop a model with a single key. The refusal is over, and told as
    such, only when a call is answered or the credential has another key. A credential without a key is never used.
    """

    def __init__(self, rest_s: float) -> None:
        self._rest_s = rest_s
        self._refused_s: dict[QuotaKey, float] = {}
        self._spent: dict[str, _Spent] = {}
        self._rotated_s: dict[str, float] = {}
        self._keyless: set[str] = set()

    def lacks_key(self, credential: str) -> None:
        self._keyless.add(credential)

    def usable(self, keys: tuple[QuotaKey, ...], now_s: float) -> tuple[QuotaKey, ...]:
        """Those to use now."""
        if not self._refused_s and not self._keyless and not self._spent:
            return keys
        return self.accepted(keys, now_s) or tuple(key for key in keys if key.credential not in self._keyless)

    def accepted(self, keys: tuple[QuotaKey, ...], now_s: float) -> tuple[QuotaKey, ...]:
        """Those that have a key of which nothing bad is known."""
        return tuple(key for key in keys if not self._is_out(key, now_s))

    def refused(self, key: QuotaKey, *, began_s: float, now_s: float) -> bool:
        """A call that began at `began_s` was refused for its credential: whether that is news.

        Nothing follows where the credential has got another key since.
        """
        if self.rotated_since(key.credential, began_s):
            return False
        news = key not in self._refused_s
        self._refused_s[key] = now_s
        return news

    def spent(self, credential: str, models: tuple[str, ...], *, began_s: float, now_s: float) -> bool:
        """A call that began at `began_s` was refused because the account's budget is spent: whether that is news.

        `models`: all that the credential is used for. Nothing follows where it has got another key since.
        """
        if self.rotated_since(credential, began_s):
            return False
        news = credential not in self._spent
        self._spent[credential] = _Spent(now_s, models)
        return news

    def rotated_since(self, credential: str, began_s: float) -> bool:
        return began_s < self._rotated_s.get(credential, began_s)

    def funded(self, credential: str, *, began_s: float) -> tuple[str, ...]:
        """A call was answered: the models for which the account's budget was spent until then. The answer to a call
        that began before it was spent says nothing of what is now.
        """
        spent = self._spent.get(credential)
        if spent is None or began_s < spent.at_s:
            return ()
        del self._spent[credential]
        return spent.models

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
        back = tuple(QuotaKey(credential, model) for model in self.models(credential))
        self._spent.pop(credential, None)
        for key in back:
            self._refused_s.pop(key, None)
        return back

    def models(self, credential: str) -> tuple[str, ...]:
        """The models for which the provider refuses it, as far as is known."""
        refused = tuple(key.model for key in self._refused_s if key.credential == credential)
        spent = self._spent.get(credential)
        return refused if spent is None else tuple(dict.fromkeys((*refused, *spent.models)))

    def _is_out(self, key: QuotaKey, now_s: float) -> bool:
        if key.credential in self._keyless:
            return True
        refused_s = self._refused_s.get(key)
        if refused_s is not None and now_s < refused_s + self._rest_s:
            return True
        spent = self._spent.get(key.credential)
        return spent is not None and now_s < spent.at_s + self._rest_s
