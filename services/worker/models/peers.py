"""Which models of a role other workers can call, heard from their presence."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from msgspec import Struct

from penstock.contract.names import Role
from penstock.contract.presence import Presence
from penstock.runtime.config.catalogue import Catalogue

__all__ = ["Peers"]

_BELIEVED_S: Final = 6.0
"""How long after its last heartbeat a worker counts as alive: three heartbeats."""
_MOST: Final = 1000


class _Peer(Struct, frozen=True):
    heard_s: float
    able: Mapping[Role, frozenset[str]]
    """The models that it can call, as far as it knows."""


class Peers:
    """Latest heartbeat of each other worker, folded into what it can serve. Instants are the loop's."""

    def __init__(self, catalogue: Catalogue, instance: str) -> None:
        self._catalogue = catalogue
        self._instance = instance
        self._peers: dict[str, _Peer] = {}
        """The one heard last stands last."""

    def heard(self, instance: str, beat: Presence | None, now_s: float) -> None:
        """None: it stopped."""
        self._peers.pop(instance, None)
        if beat is None or not beat.roles or instance == self._instance:
            return
        self._peers[instance] = _Peer(now_s, self._able(beat))
        if len(self._peers) > _MOST:
            del self._peers[next(iter(self._peers))]

    def can_serve(self, role: Role, now_s: float, models: Collection[str] | None = None) -> bool:
        """Whether another worker that is alive serves `role` and can call one of `models`; None: any of its chain."""
        return any(
            now_s < peer.heard_s + _BELIEVED_S and bool(able if models is None else able.intersection(models))
            for peer in self._peers.values()
            if (able := peer.able.get(role))
        )

    def _able(self, beat: Presence) -> Mapping[Role, frozenset[str]]:
        out = {breaker.model for breaker in beat.breakers} | set(beat.withdrawn)
        away = {*beat.keyless, *beat.unreachable}
        roles, models = self._catalogue.roles, self._catalogue.models
        return {
            status.role: frozenset(
                model
                for model in roles[status.role].chain
                if model not in out
                and models[model].provider not in away
                and not _refused(beat, models[model].provider, model)
            )
            for status in beat.roles
            if status.role in roles
        }


def _refused(beat: Presence, provider: str, model: str) -> bool:
    """Whether the provider refuses all of the worker's credentials for the model."""
    credentials = [each for each in beat.credentials if each.provider == provider]
    return bool(credentials) and all(model in each.refused_for for each in credentials)
