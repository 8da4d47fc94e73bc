"""The difference between the server and the contract, found with a few requests so that it can be repeated often."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from nats.js import JetStreamContext
from nats.js.api import ConsumerConfig, ConsumerInfo, StreamConfig

from penstock.contract.streams import BUCKETS, REQUESTS, ROUTER, WORK, mailboxes
from penstock.runtime.provisioning.ensure import JetStreamPlan, bucket_config, consumer_config, stream_config

__all__ = ["find_drift"]

_PAGE: Final = 256
"""Streams, or consumers, in one page of the server's list."""
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
"""Compared fields. `num_replicas` is not: routers that disagree during a rollout would move all data back and forth."""
_OF_CONSUMER: Final = ("filter_subject", "ack_policy", "ack_wait", "max_deliver", "max_ack_pending")
_OF_BUCKET: Final = (
    "storage",
    "max_age",
    "max_msgs_per_subject",
    "duplicate_window",
    "allow_direct",
    "republish",
)


async def find_drift(js: JetStreamContext, plan: JetStreamPlan) -> list[str]:
    """The names of the streams, buckets and consumers that are missing or differ from the contract and `plan`.

    Raises nats errors when the server does not answer.
    """
    there = await _streams(js)
    return [*_wrong_streams(there, plan), *await _wrong_consumers(js, there, plan)]


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


def _wrong_streams(there: dict[str, StreamConfig], plan: JetStreamPlan) -> Iterator[str]:
    for stream in plan.streams:
        if _differs(there.get(stream.name), stream_config(stream), _OF_STREAM):
            yield stream.name
    for bucket in BUCKETS:
        wanted = bucket_config(bucket)
        if _differs(there.get(str(wanted.name)), wanted, _OF_BUCKET):
            yield bucket.name


async def _wrong_consumers(
    js: JetStreamContext, there: dict[str, StreamConfig], plan: JetStreamPlan
) -> list[str]:
    found = {
        (stream, info.name): info.config
        for stream in (REQUESTS.name, WORK.name)
        if stream in there
        for info in await _consumers(js, stream)
    }
    return [
        f"{consumer.stream}/{consumer.durable}"
        for consumer in (ROUTER, *mailboxes(plan.roles))
        if _differs(
            found.get((consumer.stream, consumer.durable)),
            consumer_config(consumer, plan.ack_wait_s),
            _OF_CONSUMER,
        )
    ]


def _differs(
    actual: StreamConfig | ConsumerConfig | None,
    wanted: StreamConfig | ConsumerConfig,
    names: tuple[str, ...],
) -> bool:
    return actual is None or any(getattr(actual, name) != getattr(wanted, name) for name in names)
