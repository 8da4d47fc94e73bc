"""What a process answers until its start has ended, which waits for NATS: health, and 503 for everything else."""

from __future__ import annotations

from typing import Final

from services.edge.http.errors import HttpError
from services.edge.http.exchange import Exchange
from services.edge.http.routes import Routes
from services.edge.plain_routes import HealthRoutes

__all__ = ["STARTING", "starting_routes"]

STARTING: Final = "this process has just started, and waits for NATS"


def starting_routes(health: HealthRoutes) -> Routes:
    """No request is let in: whether a key is required is not known yet."""
    routes = Routes(unknown=_refuse)
    health.add_to(routes)
    return routes


async def _refuse(exchange: Exchange) -> None:
    message = f"{exchange.path} cannot be answered yet: {STARTING}. Send the request again"
    raise HttpError.of("bus_unavailable", message, retry_after_s=1)
