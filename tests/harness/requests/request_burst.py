"""A burst of requests of one account, published as fast as the server takes them."""

from __future__ import annotations

import json
import time

from nats.aio.client import Client as Nats

from penstock.bus.ids import new_id
from penstock.contract import headers, subjects
from penstock.contract.names import Lane
from penstock.contract.streams import REQUESTS

__all__ = ["publish_burst", "waiting_requests"]

_CLIENT = "burst"
_FLUSHED_EVERY = 500


async def publish_burst(
    nc: Nats, account: str, count: int, *, lane: Lane = "interactive", role: str = "chat"
) -> float:
    """Publish `count` small requests without waiting for acknowledgements; returns the seconds that took."""
    body = {"messages": [{"role": "user", "content": "Hm"}]}
    began_s = time.monotonic()
    for number in range(count):
        event = {"type": "chat_request", "id": new_id(), "client": _CLIENT, "role": role, "lane": lane}
        extra = {headers.MESSAGE_ID: f"{account}.{_CLIENT}.{event['id']}", headers.CLIENT: _CLIENT}
        payload = json.dumps(event | {"body": body}).encode()
        await nc.publish(subjects.request(account, "chat", lane), payload, headers=extra)
        if number % _FLUSHED_EVERY == 0:
            await nc.flush()
    await nc.flush()
    return time.monotonic() - began_s


async def waiting_requests(nc: Nats) -> int:
    """The number of requests that no router has routed."""
    return (await nc.jetstream().stream_info(REQUESTS.name)).state.messages
