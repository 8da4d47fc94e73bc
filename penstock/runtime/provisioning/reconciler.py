"""Restores streams, consumers and buckets that were deleted or changed while the services run.

The difference between the server and the contract is found with a few requests, so that it can be repeated often.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator
from functools import cache, partial
from typing import Final, TypeVar

import msgspec
import nats.errors
from msgspec import Struct
from nats.js import JetStreamContext
from nats.js.api import StreamConfig

from penstock.bus.connection import ConnectionEvents
from penstock.bus.jetstream_answers import AnswerError
from penstock.contract.streams import BUCKETS, Consumer
from penstock.runtime.periodic_loop import PeriodicLoop
from penstock.runtime.provisioning.ensure import (
    JetStreamPlan,
    bucket_config,
    consumer_config,
    ensure,
    stream_config,
)

__all__ = ["Reconciler", "find_drift"]

# ruff: noqa: SLF001 - the connection of a context

_Info = TypeVar("_Info")
_log: Final = logging.getLogger(__name__)
_EVERY_S: Final = 5.0
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
    "discard_new_per_subject",
    "duplicate_window",
    "allow_direct",
    "subject_transform",
)
"""Compared fields. `num_replicas` is not: routers that disagree during a rollout would move all data back and forth."""
_OF_BUCKET: Final = (
    "storage",
    "max_age",
    "max_msgs",
    "max_msgs_per_subject",
    "duplicate_window",
    "allow_direct",
    "republish",
)


class _ConsumerFields(Struct, frozen=True):
    """The compared fields of a consumer's configuration, as the server writes them."""

    filter_subject: str = ""
    ack_policy: str = ""
    ack_wait: int = 0
    """Nanoseconds."""
    max_deliver: int = 0
    max_ack_pending: int = 0


class _ListedConsumer(Struct, frozen=True):
    name: str
    config: _ConsumerFields


class _Page(Struct, frozen=True):
    consumers: list[_ListedConsumer] = []
    error: AnswerError | None = None


_decode_page: Final = msgspec.json.Decoder(_Page).decode


@cache
def _wanted(consumer: Consumer, ack_wait_s: float) -> _ConsumerFields:
    return msgspec.convert(consumer_config(consumer, ack_wait_s).as_dict(), _ConsumerFields)


async def find_drift(js: JetStreamContext, plan: JetStreamPlan) -> list[str]:
    """The names of the streams, buckets and consumers that are missing or differ from the contract and `plan`.

    Raises nats errors when the server does not answer.
    """
    streams = await _all(js.streams_info)
    there = {info.config.name: info.config for info in streams if info.config.name}
    return [*_wrong_streams(there, plan), *await _wrong_consumers(js, there, plan)]


async def _all(read: Callable[[int], Awaitable[list[_Info]]]) -> list[_Info]:
    """The entries of every page; `read` takes the number of those that were read before."""
    found: list[_Info] = []
    while True:
        page = await read(len(found))
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
        for stream in {consumer.stream for consumer in plan.consumers}
        if stream in there
        for info in await _all(partial(_consumers_of, js, stream))
    }
    return [
        f"{consumer.stream}/{consumer.durable}"
        for consumer in plan.consumers
        if found.get((consumer.stream, consumer.durable)) != _wanted(consumer, plan.ack_wait_s)
    ]


async def _consumers_of(js: JetStreamContext, stream: str, read: int) -> list[_ListedConsumer]:
    """A page of the server's list after the first `read`. nats-py makes five objects of each consumer, with a hundred
    calls; there are more than a hundred.
    """
    answer = await js._nc.request(
        f"$JS.API.CONSUMER.LIST.{stream}", b'{"offset":%d}' % read, timeout=js._timeout
    )
    page = _decode_page(answer.data)
    if page.error is not None:
        raise nats.errors.Error(f"{stream}: {page.error.description}")
    return page.consumers


def _differs(
    actual: StreamConfig | None,
    wanted: StreamConfig,
    names: tuple[str, ...],
) -> bool:
    return actual is None or any(getattr(actual, name) != getattr(wanted, name) for name in names)


class Reconciler:
    """Compares the server with the plan every few seconds and after a reconnection, and provisions again when they
    differ.
    """

    def __init__(self, js: JetStreamContext, plan: JetStreamPlan) -> None:
        self._js = js
        self._plan = plan
        self._loop = PeriodicLoop("the provisioning of JetStream", _EVERY_S, self.reconcile)

    def start(self, events: ConnectionEvents) -> None:
        self._loop.start(events)

    async def stop(self) -> None:
        await self._loop.stop()

    @property
    def succeeded(self) -> bool:
        """The last comparison was answered, and everything was there or could be restored."""
        return self._loop.succeeded

    async def reconcile(self) -> None:
        """Compare and restore once. Raises nats errors when JetStream does not answer or refuses."""
        drift = await find_drift(self._js, self._plan)
        if drift:
            _log.warning("JetStream lacks or has changed %s; provisioning again", ", ".join(drift))
            await ensure(self._js, self._plan)
