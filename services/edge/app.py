"""The edge's composition root: every part is constructed here."""

from __future__ import annotations

import socket
from contextlib import AsyncExitStack

from penstock.bus.clock import SYSTEM
from penstock.contract.presence import Presence
from penstock.runtime.config.catalogue import Catalogue
from penstock.runtime.heartbeat import Heartbeat
from penstock.runtime.service import Bus, Shell
from services.edge.auth.identity import OneAccount
from services.edge.dialects.chat import ChatDialect
from services.edge.dispatch import Dispatcher
from services.edge.handlers import GenerationHandler, Surface
from services.edge.http.connection import Connection
from services.edge.http.cors import Cors
from services.edge.http.exchange import HttpLimits
from services.edge.http.routes import Routes
from services.edge.http.server import PublicServer, address_of
from services.edge.metrics import EdgeMetrics
from services.edge.requests.accounts import Accounts
from services.edge.requests.answer_id import new_client_name
from services.edge.settings import EdgeSettings

__all__ = ["Edge"]


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
        self._started = AsyncExitStack()

    async def start(self, bus: Bus, http: str) -> None:
        """Start the parts in the order in which they need each other."""
        accounts = Accounts(bus, new_client_name(), self._shell.tracer)
        authenticator = OneAccount(self._shell.settings.account)
        routes = self._routes(accounts, authenticator)
        limits = HttpLimits(
            body_bytes=self._settings.body_bytes, body_s=self._settings.read_s, write_s=self._settings.write_s
        )
        dispatcher = Dispatcher(routes, limits, Cors(self._settings.cors_origins), self._metrics)
        server = PublicServer(dispatcher, self._listener, self._connection())
        heartbeat = Heartbeat(bus.nc, lambda: self._presence(http))
        self._started.push_async_callback(heartbeat.stop)
        await heartbeat.start()
        self._started.push_async_callback(server.stop, self._shell.settings.drain_s, dispatcher.interrupt_all)
        await server.start()
        self._shell.announced["url"] = address_of(self._listener)

    async def drain(self) -> None:
        """Stop the parts in reverse order."""
        await self._started.aclose()

    def _routes(self, accounts: Accounts, authenticator: OneAccount) -> Routes:
        chat = Surface(ChatDialect(), "chatcmpl-", "/v1/chat/completions")
        routes = Routes(chat.dialect.error)
        handler = GenerationHandler(
            chat, authenticator, accounts, self._metrics, wait_s=self._settings.wait_s
        )
        routes.add("POST", chat.path, handler)
        return routes

    def _connection(self) -> type[Connection]:
        class LimitedConnection(Connection):
            header_bytes = self._settings.header_bytes
            header_s = self._settings.read_s

        return LimitedConnection

    def _presence(self, http: str) -> Presence:
        return Presence(
            service=self._shell.service,
            instance=self._shell.instance,
            at_ms=SYSTEM.unix_ms(),
            http=http,
            catalogue=self._catalogue_digest,
        )
