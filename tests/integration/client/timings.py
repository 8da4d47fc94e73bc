"""A client that waits for shorter times."""

from __future__ import annotations

from penstock import Client
from penstock.bus.tracing import NO_TRACER
from penstock.client.timings import ClientTimings


def with_timings(client: Client, **seconds: float) -> Client:
    """A client on the connection of `client`, which closes it."""
    return Client(client._nc, client._subscription, NO_TRACER, ClientTimings(**seconds))
