"""The models that other workers can call, and the catalogues of the routers, from their heartbeats."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from msgspec import Struct

from penstock.bus.log_limits import rate_limited_logger
from penstock.contract.names import Role
from penstock.contract.presence import Presence
from penstock.runtime.config.catalogue import Catalogue

__all__ = ["Peers"]

_ALIVE_S: Final = 6.0
"""Seconds after its last heartbeat during which a worker counts as alive: three heartbeats."""
_MAX_PEERS: Final = 1000
_log: Final = rate_limited_logger(__name__)


class _Peer(Struct, frozen=True):
    heartbeat_s: float
    callable_models: Mapping[Role, frozenset[str]]
    """The models that it reports as callable."""


class Peers:
    """The callable models of each other worker, from its latest heartbeat. Times are the event loop's."""

    def __init__(self, catalogue: Catalogue, instance: str) -> None:
        self._catalogue = catalogue
        self._instance = instance
        self._peers: dict[str, _Peer] = {}
        """In order of the latest heartbeat."""
        self._digest = catalogue.digest()
        self._reported_digest = ""

    def observe(self, instance: str, heartbeat: Presence | None, now_s: float) -> None:
        """Record a heartbeat of a worker or router; None: it stopped."""
        if heartbeat is not None and heartbeat.service == "router":
            self._check_catalogue(instance, heartbeat.catalogue)
        self._peers.pop(instance, None)
        if heartbeat is None or not heartbeat.roles or instance == self._instance:
            return
        self._peers[instance] = _Peer(now_s, self._callable_models(heartbeat))
        if len(self._peers) > _MAX_PEERS:
            del self._peers[next(iter(self._peers))]

    def workers(self, now_s: float) -> int:
        """The number of live workers, this one included."""
        return 1 + sum(now_s < peer.heartbeat_s + _ALIVE_S for peer in self._peers.values())

    def can_serve(self, role: Role, now_s: float, models: Collection[str] | None = None) -> bool:
        """Whether another live worker serves `role` and can call one of `models`; None: any model of the chain."""
        return any(
            now_s < peer.heartbeat_s + _ALIVE_S
            and bool(found if models is None else found.intersection(models))
            for peer in self._peers.values()
            if (found := peer.callable_models.get(role))
        )

    def _check_catalogue(self, instance: str, digest: str) -> None:
        """Warn once when a router has another catalogue: it routes to roles and models that this worker lacks."""
        if digest in {"", self._digest, self._reported_digest}:
            return
        self._reported_digest = digest
        _log.warning(
            "%s runs with another catalogue (%s) than this worker (%s): its requests may name roles and models that "
            "do not exist here",
            instance,
            digest,
            self._digest,
        )

    def _callable_models(self, heartbeat: Presence) -> Mapping[Role, frozenset[str]]:
        unusable = {breaker.model for breaker in heartbeat.breakers} | set(heartbeat.withdrawn_models)
        unusable_providers = {*heartbeat.providers_without_key, *heartbeat.unreachable_providers}
        roles, models = self._catalogue.all_roles, self._catalogue.models
        return {
            status.role: frozenset(
                model
                for model in roles[status.role].chain
                if model not in unusable
                and models[model].provider not in unusable_providers
                and not _refused(heartbeat, models[model].provider, model)
            )
            for status in heartbeat.roles
            if status.role in roles
        }


def _refused(heartbeat: Presence, provider: str, model: str) -> bool:
    """Whether the provider refuses all of the worker's credentials for the model."""
    credentials = [each for each in heartbeat.credentials if each.provider == provider]
    return bool(credentials) and all(model in each.refused_for for each in credentials)
