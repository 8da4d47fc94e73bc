"""The routes that answer from this process alone: health, metrics, models, counted tokens."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from penstock.bus.clock import Clock
from penstock.runtime.body_work import in_thread_if_large
from penstock.runtime.config.catalogue import Catalogue
from services.edge.auth.authenticator import Authenticator
from services.edge.auth.known_keys import KnownKeys
from services.edge.dialects.messages import count_tokens
from services.edge.http.errors import HttpError
from services.edge.http.exchange import Exchange
from services.edge.http.routes import Routes
from services.edge.listing.live_workers import LiveWorkers
from services.edge.listing.models import ModelList
from services.edge.listing.target import Target, target_of
from services.edge.openapi import operations

__all__ = ["CountTokensRoute", "HealthRoutes", "ModelRoutes"]


class HealthRoutes:
    """For load balancers and Prometheus; they need no key."""

    def __init__(
        self,
        missing_bus: Callable[[], str],
        keys: KnownKeys,
        workers: LiveWorkers,
        registry: CollectorRegistry,
        clock: Clock,
    ) -> None:
        """`missing_bus`: what prevents the use of NATS; empty: nothing."""
        self._missing_bus = missing_bus
        self._keys = keys
        self._workers = workers
        self._registry = registry
        self._clock = clock

    def add_to(self, routes: Routes) -> None:
        routes.add(operations.GET_HEALTH, self.healthz)
        routes.add(operations.GET_READINESS, self.readyz)
        routes.add(operations.GET_METRICS, self.metrics)

    async def healthz(self, exchange: Exchange) -> None:
        """The process is alive."""
        await exchange.respond(200, b'{"status":"ok"}')

    async def readyz(self, exchange: Exchange) -> None:
        """A request that comes now can be answered."""
        missing_bus = self._missing_bus()
        missing = [missing_bus] if missing_bus else []
        if not self._keys.are_read:
            missing.append("the API keys cannot be read yet")
        if not self._workers.served(self._clock.monotonic_s()):
            missing.append("no worker is alive")
        status = "not ready" if missing else "ready"
        body = msgspec.json.encode({"status": status, "missing": missing})
        await exchange.respond(503 if missing else 200, body)

    async def metrics(self, exchange: Exchange) -> None:
        body = generate_latest(self._registry)
        await exchange.respond(200, body, content_type=CONTENT_TYPE_LATEST.encode())


class ModelRoutes:
    """The roles and models that the key of a request allows."""

    def __init__(
        self, models: ModelList, catalogue: Catalogue, authenticator: Authenticator, clock: Clock
    ) -> None:
        self._models = models
        self._catalogue = catalogue
        self._authenticator = authenticator
        self._clock = clock

    async def list_all(self, exchange: Exchange) -> None:
        identity = self._authenticator.authenticate(exchange)
        models = self._models.all(self._clock.monotonic_s())
        listed = [model for model in models if identity.allows(target_of(model["id"], self._catalogue))]
        await exchange.respond(200, msgspec.json.encode({"object": "list", "data": listed}))

    async def get(self, exchange: Exchange) -> None:
        identity = self._authenticator.authenticate(exchange)
        name = exchange.parameters["id"]
        self._authenticator.authorize(identity, target_of(name, self._catalogue))
        found = self._models.get(name, self._clock.monotonic_s())
        if found is None:
            roles = ", ".join(role for role in self._models.roles if identity.allows(Target(role=role)))
            message = f"there is no role and no model {name[:80]!r}; the roles are {roles}; GET /v1/models lists all"
            raise HttpError.of("model_not_found", message, param="model")
        await exchange.respond(200, msgspec.json.encode(found))


class CountTokensRoute:
    """`POST /v1/messages/count_tokens`: an estimate, as the router makes it."""

    def __init__(self, authenticator: Authenticator) -> None:
        self._authenticator = authenticator

    async def __call__(self, exchange: Exchange) -> None:
        self._authenticator.authenticate(exchange)
        await exchange.respond(200, await in_thread_if_large(count_tokens, await exchange.body()))
