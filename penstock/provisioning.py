"""The one step that creates streams, consumers and buckets from schemas/streams.py; services only bind."""

from __future__ import annotations

import asyncio
import logging
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

from schemas.streams import BUCKETS, ROUTER, STREAMS, Bucket, Consumer, Stream, mailboxes

__all__ = ["ensure", "ensure_eventually"]

_log: Final = logging.getLogger(__name__)
_PERHAPS_THERE: Final = frozenset({10058, 10047})
"""JetStream error codes: the name is in use with another configuration; no storage left, which the server says
before it looks whether the stream is there already."""
_FIRST_RETRY_S: Final = 0.25
_LONGEST_RETRY_S: Final = 5.0


def _stream_config(stream: Stream, replicas: int) -> StreamConfig:
    return StreamConfig(
        name=stream.name,
        subjects=list(stream.subjects),
        description=stream.purpose,
        retention=RetentionPolicy.WORK_QUEUE if stream.retention == "workqueue" else RetentionPolicy.LIMITS,
        storage=StorageType.FILE,
        discard=DiscardPolicy.NEW if stream.discard == "new" else DiscardPolicy.OLD,
        max_age=stream.max_age_s,
        max_bytes=stream.max_bytes,
        max_msgs_per_subject=stream.max_per_subject,
        duplicate_window=stream.duplicate_window_s,
        num_replicas=replicas,
        allow_direct=True,
    )


async def _ensure_stream(js: JetStreamContext, stream: Stream, replicas: int) -> None:
    config = _stream_config(stream, replicas)
    try:
        await js.add_stream(config)
    except APIError as error:
        if error.err_code not in _PERHAPS_THERE:
            raise
        try:
            await js.update_stream(config)
        except NotFoundError:
            raise error from None


async def _ensure_consumer(js: JetStreamContext, consumer: Consumer, ack_wait_s: float) -> None:
    """Create it, or bring an existing one to this configuration (nats-py alone would silently keep the old)."""
    await js.add_consumer(
        consumer.stream,
        ConsumerConfig(
            durable_name=consumer.durable,
            filter_subject=consumer.filter_subject,
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=ack_wait_s,
            max_deliver=-1,  # the mailbox bounds deliveries itself, or the last one would be stuck in the stream
            max_ack_pending=consumer.max_ack_pending,
        ),
    )


async def _ensure_bucket(js: JetStreamContext, bucket: Bucket, replicas: int) -> None:
    try:
        await js.key_value(bucket.name)
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
                republish=_republished(bucket),
            )
        )


def _republished(bucket: Bucket) -> RePublish | None:
    if bucket.republished_as is None:
        return None
    return RePublish(src=f"$KV.{bucket.name}.>", dest=bucket.republished_as)


async def ensure(js: JetStreamContext, *, roles: Iterable[str], ack_wait_s: float, replicas: int = 1) -> None:
    """Bring the server to what the contract says. Safe to repeat, from several processes at once.

    `replicas`: how many nodes of a cluster keep each stream and bucket; a bucket that exists keeps its own.

    Everything is kept in files: a memory stream of a single server is gone after a restart, definition and all, and
    costs no less (docs/decisions/0002). Raises nats errors when the server refuses or cannot be reached.
    """
    for stream in STREAMS:
        await _ensure_stream(js, stream, replicas)
    for consumer in (ROUTER, *mailboxes(roles)):
        await _ensure_consumer(js, consumer, ack_wait_s)
    for bucket in BUCKETS:
        await _ensure_bucket(js, bucket, replicas)


async def ensure_eventually(
    js: JetStreamContext, *, roles: Iterable[str], ack_wait_s: float, replicas: int = 1
) -> None:
    """`ensure`, again and again until the server (which may be starting) lets it through."""
    names = tuple(roles)
    wait_s = _FIRST_RETRY_S
    while True:
        try:
            await ensure(js, roles=names, ack_wait_s=ack_wait_s, replicas=replicas)
        except (nats.errors.Error, TimeoutError) as error:
            _log.warning("JetStream is not ready (%s); trying again", str(error) or type(error).__name__)
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, _LONGEST_RETRY_S)
        else:
            return
