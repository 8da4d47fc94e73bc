"""The edge's composition root: every part is constructed here."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Final

from penstock.contract.formats import answer_id
from penstock.contract.presence import Presence
from penstock.contract.streams import REQUESTS
from penstock.runtime.byte_budget import ByteBudget
from penstock.runtime.config.catalogue import Catalogue
from penstock.runtime.guard.client import GuardClient
from penstock.runtime.heartbeat import Heartbeat, follow_presence
from penstock.runtime.processes.open_files import raise_open_files
from penstock.runtime.service import Bus, Shell
from penstock.runtime.serving.listening import url_of
from services.edge.answers.limit_headers import LIMIT_HEADERS
from services.edge.answers.reply_facts import REPLY_HEADERS
from services.edge.auth.authenticator import Authenticator
from services.edge.auth.key_slots import KeySlots
from services.edge.auth.key_store import KeyStore
from services.edge.auth.known_keys import KnownKeys
from services.edge.auth.open_access import sender_without_keys
from services.edge.dialects.chat import ChatDialect
from services.edge.dialects.dialect import DialectRoute
from services.edge.dialects.messages import MessagesDialect
from services.edge.dialects.messages_stream import PING
from services.edge.dialects.responses import ResponsesDialect
from services.edge.dispatch import Dispatcher
from services.edge.embeddings.route import EmbeddingsRoute
from services.edge.handlers import GenerationHandler, ResumeHandler
from services.edge.http.connection import Connection
from services.edge.http.cors import Cors
from services.edge.http.exchange import HttpLimits
from services.edge.http.routes import Routes
from services.edge.http.server import PublicServer
from services.edge.jobs.background import BackgroundResponses
from services.edge.jobs.job_routes import JobRoutes
from services.edge.listing.live_workers import LiveWorkers
from services.edge.listing.models import ModelList
from services.edge.metrics import EdgeMetrics
from services.edge.moderation.route import ModerationRoute
from services.edge.openapi import operations
from services.edge.openapi.routes import DescriptionRoutes
from services.edge.plain_routes import CountTokensRoute, HealthRoutes, ModelRoutes
from services.edge.requests.accounts import Accounts
from services.edge.requests.answer_id import new_client_name
from services.edge.requests.idempotency import REPLAYED, IdempotencyKeys
from services.edge.requests.preparation import Preparation
from services.edge.response_routes import CreateResponse, ResponseRoutes
from services.edge.settings import EdgeSettings
from services.edge.starting import STARTING, starting_routes

__all__ = ["Edge"]

_BODIES_BYTES: Final = 512 * 1024 * 1024
"""Large bodies of all requests in progress; one API key, or one address where there are no keys, may use half."""
_OTHER_FILES: Final = 32
"""Files that the process needs beside the connections of clients: 16, and some to connect to NATS again."""
_LEAST_CONNECTIONS: Final = 8
_NOT_CONNECTED: Final = "the connection to NATS is lost"


class Edge:
    def __init__(
        self, shell: Shell, catalogue: Catalogue, settings: EdgeSettings, listener: socket.socket
    ) -> None:
        """`listener`: bound to the public address."""
        self._shell = shell
        self._catalogue = catalogue
        self._catalogue_digest = catalogue.digest()
        self._settings = settings
        self._listener = listener
        self._metrics = EdgeMetrics(shell.registry)
        self._clock = shell.server_time.clock
        self._keys = KnownKeys()
        self._workers = LiveWorkers()
        limits = HttpLimits(
            body_bytes=settings.body_bytes,
            body_s=settings.read_s,
            write_s=settings.write_s,
            memory=ByteBudget(_BODIES_BYTES, share=_BODIES_BYTES // 2),
        )
        of_limits = [name for names in LIMIT_HEADERS.values() for name in names]
        cors = Cors(settings.cors_origins, (*REPLY_HEADERS, *of_limits, REPLAYED[0].decode()))
        starting = starting_routes(self._health(lambda: STARTING))
        self._dispatcher = Dispatcher(starting, limits, cors, self._metrics, self._clock)
        self._server = PublicServer(self._dispatcher, listener, self._connection())
        self._started = AsyncExitStack()

    async def listen(self) -> None:
        """Answer from now on: until `start` has ended, only about health."""
        await self._server.start()

    async def start(self, bus: Bus, http: str) -> None:
        """Start the parts in the order in which they need each other."""
        workers = self._workers
        await follow_presence(
            bus.nc,
            lambda instance, presence: workers.observe(instance, presence, self._clock.monotonic_s()),
            ("worker.*", f"{self._shell.service}.{self._shell.instance}"),
        )
        key_store = KeyStore(bus.nc, bus.connection_events, self._keys)
        self._started.push_async_callback(key_store.stop)
        await key_store.start()
        authenticator = self._authenticator(self._keys)
        routes = Routes()
        accounts = Accounts(bus, new_client_name(), self._shell.tracer, self._clock)
        idempotency = IdempotencyKeys(bus.nc)
        preparation = Preparation(authenticator, accounts, idempotency, self._catalogue, self._clock)
        self._add_generation(routes, preparation, accounts, idempotency, authenticator)
        embeddings = EmbeddingsRoute(self._catalogue, authenticator, accounts, idempotency, self._clock)
        routes.add(operations.CREATE_EMBEDDINGS, embeddings)
        jobs = DialectRoute(ChatDialect(), answer_id.CHAT, operations.SUBMIT_JOB.path, is_for_jobs=True)
        _add_jobs(routes, JobRoutes(jobs, preparation, authenticator, accounts, idempotency))
        probe = await self._started.enter_async_context(self._shell.writing(bus, REQUESTS))

        def missing_bus() -> str:
            if not bus.nc.is_connected:
                return _NOT_CONNECTED
            return "".join(f"the NATS server cannot write to {stream}" for stream in probe.not_writable)

        self._health(missing_bus).add_to(routes)
        self._add_plain_routes(routes, authenticator)
        guard = GuardClient(bus.nc)
        self._started.push_async_callback(guard.stop)
        await guard.start()
        routes.add(
            operations.CREATE_MODERATION,
            ModerationRoute(self._catalogue.guard, guard, authenticator, self._shell.tracer),
        )
        heartbeat = Heartbeat(bus.nc, lambda: self._presence(http), server_time=self._shell.server_time)
        self._started.push_async_callback(heartbeat.stop)
        await heartbeat.start()
        self._dispatcher.serve(routes)
        self._shell.healthy_while(self._server.is_serving)
        self._shell.announced["url"] = url_of(self._listener)
        self._shell.announced["api_key"] = "required" if authenticator.requires_key else "not required"

    async def drain(self) -> None:
        """Stop the parts in reverse order."""
        await self._server.stop(self._shell.settings.drain_s, self._dispatcher.interrupt_all)
        await self._started.aclose()

    def _health(self, missing_bus: Callable[[], str]) -> HealthRoutes:
        """`missing_bus`: see HealthRoutes."""
        return HealthRoutes(missing_bus, self._keys, self._workers, self._shell.registry, self._clock)

    def _authenticator(self, keys: KnownKeys) -> Authenticator:
        """Raises ConfigurationRefused on an address beyond loopback without keys, unless a key is always required."""
        address, account = self._listener.getsockname()[0], self._shell.settings.account
        is_required = self._settings.keys == "required"
        return Authenticator(
            keys,
            KeySlots(self._settings.key_requests),
            None if is_required else sender_without_keys(keys, address, account),
            self._clock,
            lambda reason: self._metrics.rejected_keys.labels(reason).inc(),
        )

    def _add_plain_routes(self, routes: Routes, authenticator: Authenticator) -> None:
        models = ModelRoutes(
            ModelList(self._catalogue, self._workers), self._catalogue, authenticator, self._clock
        )
        routes.add(operations.LIST_MODELS, models.list_all)
        routes.add(operations.GET_MODEL, models.get)
        description = DescriptionRoutes(routes)
        routes.add(operations.GET_DOCUMENT, description.document)
        routes.add(operations.GET_PAGE, description.page)

    def _add_generation(
        self,
        routes: Routes,
        preparation: Preparation,
        accounts: Accounts,
        idempotency: IdempotencyKeys,
        authenticator: Authenticator,
    ) -> None:
        """The three dialects."""
        wait_s = self._settings.wait_s

        def creation(route: DialectRoute) -> GenerationHandler:
            return GenerationHandler(route, preparation, idempotency, wait_s=wait_s)

        chat_dialect = ChatDialect()
        chat = DialectRoute(chat_dialect, answer_id.CHAT, operations.CREATE_CHAT_COMPLETION.path)
        routes.add(operations.CREATE_CHAT_COMPLETION, creation(chat))
        routes.add(
            operations.GET_CHAT_COMPLETION,
            ResumeHandler(chat, authenticator, accounts, wait_s=wait_s, assemble=chat_dialect.assembled),
        )

        dialect = ResponsesDialect()
        path = operations.CREATE_RESPONSE.path
        responses = DialectRoute(dialect, answer_id.RESPONSE, path, resume_query="?stream=true")
        background = BackgroundResponses(responses, dialect, idempotency)
        resume = ResumeHandler(responses, authenticator, accounts, wait_s=wait_s)
        response = ResponseRoutes(responses, dialect, authenticator, accounts, resume, background)
        create = CreateResponse(responses, preparation, creation(responses), background)
        routes.add(operations.CREATE_RESPONSE, create)
        routes.add(operations.GET_RESPONSE, response.get)
        routes.add(operations.CANCEL_RESPONSE, response.cancel)

        path = operations.CREATE_MESSAGE.path
        messages = DialectRoute(
            MessagesDialect(),
            answer_id.MESSAGE,
            path,
            ping=PING,
            resume_query=None,
            limit_headers="anthropic",
        )
        routes.add(operations.CREATE_MESSAGE, creation(messages))
        routes.add(operations.COUNT_TOKENS, CountTokensRoute(authenticator))

    def _connection(self) -> type[Connection]:
        class LimitedConnection(Connection):
            header_bytes = self._settings.header_bytes
            header_s = self._settings.read_s
            most_connections = max(_LEAST_CONNECTIONS, raise_open_files() - _OTHER_FILES)

        return LimitedConnection

    def _presence(self, http: str) -> Presence:
        return Presence(
            service=self._shell.service,
            instance=self._shell.instance,
            at_ms=self._clock.unix_ms(),
            http=http,
            catalogue=self._catalogue_digest,
        )


def _add_jobs(routes: Routes, jobs: JobRoutes) -> None:
    routes.add(operations.SUBMIT_JOB, jobs.submit)
    routes.add(operations.LIST_JOBS, jobs.list_all)
    routes.add(operations.GET_JOB, jobs.get)
    routes.add(operations.GET_JOB_RESULT, jobs.result)
    routes.add(operations.CANCEL_JOB, jobs.cancel)
