"""The one step that creates streams, consumers and buckets from penstock/contract/streams.py; services only bind."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable
from typing import Final

import nats.errors
from nats.js import JetStreamContext
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    DiscardPolicy,
    KeyValueConfig,
    RePublish,
    RetentionPolicy,
    StorageType,
    StreamConfig,
)
from nats.js.errors import APIError, NotFoundError

from penstock.bus.log_limits import rate_limited_logger
from penstock.bus.retry import RetryPolicy, retry
from penstock.contract.streams import BUCKETS, ROUTER, STREAMS, Bucket, Consumer, Stream, mailboxes

__all__ = ["bucket_config", "consumer_config", "ensure", "ensure_eventually", "stream_config"]

_log: Final = rate_limited_logger(__name__)
_PERHAPS_THERE: Final = frozenset({10058, 10047})
"""JetStream error codes: the name is in use with another configuration; no storage left, which the server says
before it looks whether the stream is there already."""
_BUCKET_DUPLICATES_S: Final = 120
"""As nats-py has it."""
_AT_ONCE: Final = 8
"""Consumers created side by side: ten roles have 80."""
_UNTIL_READY: Final = RetryPolicy(patience_s=math.inf, first_wait_s=0.25, longest_wait_s=5.0)


def stream_config(stream: Stream, replicas: int = 1) -> StreamConfig:
    return StreamConfig(
        name=stream.name,
        subjects=list(stream.subjects),
        description=stream.purpose,
        retention=RetentionPolicy.WORK_QUEUE if stream.retention == "workqueue" else RetentionPolicy.LIMITS,
        storage=StorageType.FILE,
        discard=DiscardPolicy.NEW if stream.discard == "new" else DiscardPolicy.OLD,
        max_age=stream.max_age_s,
        max_bytes=stream.max_bytes,
        max_msgs=stream.max_messages,
        max_msgs_per_subject=stream.max_per_subject,
        duplicate_window=stream.duplicate_window_s,
        num_replicas=replicas,
        allow_direct=True,
    )


async def _ensure_stream(js: JetStreamContext, stream: Stream, replicas: int) -> None:
    config = stream_config(stream, replicas)
    try:
        await js.add_stream(config)
    except APIError as error:
        if error.err_code not in _PERHAPS_THERE:
            raise
        try:
            await js.update_stream(config)
        except NotFoundError:
            raise error from None


def consumer_config(consumer: Consumer, ack_wait_s: float) -> ConsumerConfig:
    return ConsumerConfig(
        durable_name=consumer.durable,
        filter_subject=consumer.filter_subject,
        ack_policy=AckPolicy.EXPLICIT,
        ack_wait=ack_wait_s,
        max_deliver=-1,  # the mailbox bounds deliveries itself, or the last one would be stuck in the stream
        max_ack_pending=consumer.max_ack_pending,
    )


def bucket_config(bucket: Bucket) -> StreamConfig:
    """What we set of the stream below a bucket; the rest is nats-py's."""
    return StreamConfig(
        name=f"KV_{bucket.name}",
        max_age=bucket.ttl_s,
        max_msgs_per_subject=bucket.history,
        duplicate_window=min(bucket.ttl_s, _BUCKET_DUPLICATES_S),
        storage=StorageType.FILE,
        allow_direct=True,
        republish=_republished(bucket),
    )


async def _ensure_bucket(js: JetStreamContext, bucket: Bucket, replicas: int) -> None:
    wanted = bucket_config(bucket)
    try:
        config = (await js.stream_info(f"KV_{bucket.name}")).config
    except NotFoundError:
        await js.create_key_value(
            KeyValueConfig(
                bucket=bucket.name,
                description=bucket.purpose,
                ttl=bucket.ttl_s,
                history=bucket.history,
                storage=StorageType.FILE,
                replicas=replicas,
                direct=True,
                republish=wanted.republish,
            )
        )
        return
    await js.update_stream(
        config.evolve(
            max_age=wanted.max_age,
            max_msgs_per_subject=wanted.max_msgs_per_subject,
            duplicate_window=wanted.duplicate_window,
            allow_direct=wanted.allow_direct,
            republish=wanted.republish,
            num_replicas=replicas,
        )
    )


def _republished(bucket: Bucket) -> RePublish | None:
    if bucket.republished_as is None:
        return None
    return RePublish(src=f"$KV.{bucket.name}.>", dest=bucket.republished_as)


async def ensure(js: JetStreamContext, *, roles: Iterable[str], ack_wait_s: float, replicas: int = 1) -> None:
    """Bring the server to what the contract says. Safe to repeat, from several processes at once.

    `replicas`: how many nodes of a cluster keep each stream and bucket; what exists with fewer or more is moved.

    Everything is kept in files: a memory stream of a single server is gone after a restart, definition and all, and
    costs no less (docs/decisions/0002). Raises nats errors when the server refuses or cannot be reached.
    """
    for stream in STREAMS:
        await _ensure_stream(js, stream, replicas)
    consumers = iter((ROUTER, *mailboxes(roles)))

    async def some() -> None:
        for consumer in consumers:
            # nats-py's `pull_subscribe` would silently keep an existing one as it is
            await js.add_consumer(consumer.stream, consumer_config(consumer, ack_wait_s))

    outcomes = await asyncio.gather(*(some() for _ in range(_AT_ONCE)), return_exceptions=True)
    for outcome in outcomes:
        if outcome is not None:
            raise outcome
    for bucket in BUCKETS:
        await _ensure_bucket(js, bucket, replicas)


async def ensure_eventually(
    js: JetStreamContext, *, roles: Iterable[str], ack_wait_s: float, replicas: int = 1
) -> None:
    """Call `ensure` until the server, which may still be starting, accepts everything."""
    names = tuple(roles)
    await retry(
        lambda: ensure(js, roles=names, ack_wait_s=ack_wait_s, replicas=replicas),
        on=(nats.errors.Error, TimeoutError),
        report=lambda error: _log.warning(
            "JetStream is not ready (%s); trying again", str(error) or type(error).__name__
        ),
        policy=_UNTIL_READY,
    )
