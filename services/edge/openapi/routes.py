"""`/openapi.json` and `/docs`. They need no key: they are the same for every installation of one version."""

from __future__ import annotations

from functools import cached_property
from importlib.metadata import version

import msgspec

from services.edge.http.exchange import Exchange
from services.edge.http.routes import Routes

__all__ = ["DescriptionRoutes"]


class DescriptionRoutes:
    """Both are made at the first request for one of them, and kept as bytes."""

    def __init__(self, routes: Routes) -> None:
        """`routes`: all of the edge, once they were added."""
        self._routes = routes

    async def document(self, exchange: Exchange) -> None:
        await exchange.respond(200, self._made[0])

    async def page(self, exchange: Exchange) -> None:
        from services.edge.openapi.page import PAGE_HEADERS  # noqa: PLC0415 - as below

        content_type = b"text/html; charset=utf-8"
        await exchange.respond(200, self._made[1], content_type=content_type, headers=PAGE_HEADERS)

    @cached_property
    def _made(self) -> tuple[bytes, bytes]:
        # Imported at the first use: most processes never serve the document.
        from services.edge.openapi.document import openapi_document  # noqa: PLC0415
        from services.edge.openapi.page import html_page  # noqa: PLC0415

        document = openapi_document(self._routes.operations, version("penstock"))
        return msgspec.json.encode(document), html_page(document).encode()
