"""What the server lacks of the contract: a few questions, so that they can be asked often."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from nats.js import JetStreamContext
from nats.js.api import ConsumerConfig, ConsumerInfo, StreamConfig

from penstock.contract.streams import BUCKETS, REQUESTS, ROUTER, STREAMS, WORK, mailboxes
from penstock.runtime.provisioning.ensure import bucket_config, consumer_config, stream_config

__all__ = ["find_drift"]

_PAGE: Final = 256
"""How many streams, or consumers, the server lists at once."""
_OF_STREAM: Final = (
    "subjects",
    "retention",
    "storage",
    "discard",
    "max_age",
    "max_bytes",
    "max_msgs",
    "max_msgs_per_subject",
    "duplicate_window",
    "allow_direct",
)
"""Not `num_replicas`: two routers that disagree for the time of a rollout would move all data to and fro."""
_OF_CONSUMER: Final = ("filter_subject", "ack_policy", "ack_wait", "max_deliver", "max_ack_pending")
_OF_BUCKET: Final = (
    "storage",
    "max_age",
    "max_msgs_per_subject",
    "duplicate_window",
    "allow_direct",
    "republish",
)


async def find_drift(js: JetStreamContext, *, roles: Iterable[str], ack_wait_s: float) -> list[str]:
    """The streams, buckets and consumers that are missing or not as they should be, by name.

    Raises nats errors when the server does not say.
    """
    there = await _streams(js)
    return [*_wrong_streams(there), *await _wrong_consumers(js, there, roles, ack_wait_s)]


async def _streams(js: JetStreamContext) -> dict[str, StreamConfig]:
    found: dict[str, StreamConfig] = {}
    while True:
        page = await js.streams_info(offset=len(found))
        found |= {info.config.name: info.config for info in page if info.config.name}
        if len(page) < _PAGE:
            return found


async def _consumers(js: JetStreamContext, stream: str) -> list[ConsumerInfo]:
    found: list[ConsumerInfo] = []
    while True:
        page = await js.consumers_info(stream, offset=len(found))
        found += page
        if len(page) < _PAGE:
            return found


def _wrong_streams(there: dict[str, StreamConfig]) -> Iterator[str]:
    for stream in STREAMS:
        if _differs(there.get(stream.name), stream_config(stream), _OF_STREAM):
            yield stream.name
    for bucket in BUCKETS:
        wanted = bucket_config(bucket)
        if _differs(there.get(str(wanted.name)), wanted, _OF_BUCKET):
            yield bucket.name


async def _wrong_consumers(
    js: JetStreamContext, there: dict[str, StreamConfig], roles: Iterable[str], ack_wait_s: float
) -> list[str]:
    found = {
        (stream, info.name): info.config
        for stream in (REQUESTS.name, WORK.name)
        if stream in there
        for info in await _consumers(js, stream)
    }
    return [
        f"{consumer.stream}/{consumer.durable}"
        for consumer in (ROUTER, *mailboxes(roles))
        if _differs(
            found.get((consumer.stream, consumer.durable)),
            consumer_config(consumer, ack_wait_s),
            _OF_CONSUMER,
        )
    ]


def _differs(
    actual: StreamConfig | ConsumerConfig | None,
    wanted: StreamConfig | ConsumerConfig,
    names: tuple[str, ...],
) -> bool:
    return actual is None or any(getattr(actual, name) != getattr(wanted, name) for name in names)
