"""Which other workers of a role are alive and can reach a model of its chain, heard from their presence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from penstock.config.catalogue import Catalogue
from schemas.names import Role
from schemas.presence import Presence

__all__ = ["Peers"]

_BELIEVED_S: Final = 6.0
"""How long after its last heartbeat a worker counts as alive: three heartbeats."""
_MOST: Final = 1000


class _Peer(Struct, frozen=True):
    heard_s: float
    able: frozenset[Role]


class Peers:
    """Latest heartbeat of each other worker, folded into the roles that it can serve. Instants are the loop's."""

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

    def can_serve(self, role: Role, now_s: float) -> bool:
        """Whether another worker that is alive serves `role` and has a model for it whose breaker is closed."""
        return any(role in peer.able and now_s < peer.heard_s + _BELIEVED_S for peer in self._peers.values())

    def _able(self, beat: Presence) -> frozenset[Role]:
        out = {breaker.model for breaker in beat.breakers} | set(beat.withdrawn)
        models = self._catalogue.models
        chains: Mapping[Role, tuple[str, ...]] = {
            role: config.chain for role, config in self._catalogue.roles.items()
        }
        return frozenset(
            status.role
            for status in beat.roles
            if any(
                model not in out and models[model].provider not in beat.keyless
                for model in chains.get(status.role, ())
            )
        )
