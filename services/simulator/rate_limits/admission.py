"""Which limits bind a key on a model, and the accounts they are kept in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from services.simulator.behaviour.behaviours import ModelName
from services.simulator.rate_limits.limits import Account, Limit

__all__ = ["Admission"]

_ANY_MODEL: Final = "*"


class Admission:
    def __init__(self, limits: Mapping[str, Limit]) -> None:
        self._limits = dict(limits)
        self._accounts: dict[tuple[str, str], Account] = {}

    def set_limits(self, changes: Mapping[str, Limit | None]) -> dict[str, Limit]:
        """Put these in force, None for no limit; their windows begin anew. Returns all that are in force."""
        for model, limit in changes.items():
            if limit is None:
                self._limits.pop(model, None)
            else:
                self._limits[model] = limit
        self.restart()
        return self._limits

    def restart(self) -> None:
        """Every window begins anew; a request still running settles with the account it came from."""
        self._accounts = {}

    def account(self, key: str, name: ModelName) -> Account | None:
        """The account of this key for this model; None when nothing limits it."""
        if not self._limits:
            return None
        model = name.full if name.full in self._limits else name.base
        account = self._accounts.get((key, model))
        if account is None:
            limit = self._limits.get(model) or self._limits.get(_ANY_MODEL)
            if limit is None:
                return None
            account = self._accounts[key, model] = Account(limit)
        return account
