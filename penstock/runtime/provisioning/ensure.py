"""The one step that creates the streams, consumers and buckets of penstock/contract/streams.py."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Iterable
from typing import Final

import nats.errors
from msgspec import Struct
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
    SubjectTransform,
)
from nats.js.errors import APIError, NotFoundError, ServiceUnavailableError

from penstock.bus.jetstream_errors import advice, is_full, is_name_in_use
from penstock.bus.retry import RetryPolicy, retry
from penstock.contract.streams import BUCKETS, INTAKE, STREAMS, BucketSpec, Consumer, StreamSpec, mailboxes
from penstock.runtime.config.problems import ConfigurationRefused, Problem
from penstock.runtime.config.settings import MIN_STORE_SCALE, Settings
from penstock.runtime.text.sizes import size_text

__all__ = [
    "JetStreamPlan",
    "bucket_config",
    "consumer_config",
    "ensure",
    "ensure_consumers",
    "ensure_eventually",
    "ensure_streams",
    "reserved_bytes",
    "stream_config",
]

_log: Final = logging.getLogger(__name__)
_BUCKET_DUPLICATES_S: Final = 120
"""Seconds; nats-py's own figure."""
_AT_ONCE: Final = 8
"""Consumers created concurrently: ten roles have 80."""
_UNTIL_READY: Final = RetryPolicy(timeout_s=math.inf, first_wait_s=0.25, longest_wait_s=5.0)


class JetStreamPlan(Struct, frozen=True, kw_only=True):
    """What a service wants the server to have besides what the contract fixes."""

    roles: tuple[str, ...] = ()
    """The roles whose mailboxes are needed."""
    ack_wait_s: float
    replicas: int = 1
    """How many nodes of a cluster keep each stream and bucket; existing ones with another number are moved."""
    store_scale: float = 1.0
    """Factor for the size of the streams."""
    routes: bool = False
    """The consumers of routers are needed."""

    @classmethod
    def of(cls, settings: Settings, roles: Iterable[str], *, routes: bool = False) -> JetStreamPlan:
        return cls(
            roles=tuple(roles),
            routes=routes,
            ack_wait_s=settings.ack_wait_s,
            replicas=settings.stream_replicas,
            store_scale=settings.store_scale,
        )

    @property
    def streams(self) -> tuple[StreamSpec, ...]:
        return tuple(stream.scaled(self.store_scale) for stream in STREAMS)

    @property
    def consumers(self) -> tuple[Consumer, ...]:
        return (*(INTAKE if self.routes else ()), *mailboxes(self.roles))


def stream_config(stream: StreamSpec, replicas: int = 1) -> StreamConfig:
    return StreamConfig(
        name=stream.name,
        subjects=[*stream.subjects, stream.probe_subject],
        description=stream.purpose,
        retention=RetentionPolicy.WORK_QUEUE if stream.retention == "workqueue" else RetentionPolicy.LIMITS,
        storage=StorageType.FILE,
        discard=DiscardPolicy.NEW if stream.discard == "new" else DiscardPolicy.OLD,
        max_age=stream.max_age_s,
        max_bytes=stream.max_bytes,
        max_msgs=stream.max_messages,
        max_msgs_per_subject=stream.max_per_subject,
        discard_new_per_subject=stream.rejects_by_subject,
        duplicate_window=stream.duplicate_window_s,
        num_replicas=replicas,
        allow_direct=True,
        subject_transform=None if stream.transform is None else SubjectTransform(*stream.transform),
    )


async def ensure_streams(js: JetStreamContext, plan: JetStreamPlan) -> None:
    """Create or update the streams. Raises ConfigurationRefused when the server has too little storage for them."""
    for stream in plan.streams:
        try:
            await _ensure_stream(js, stream, plan.replicas)
        except APIError as error:
            if not is_full(error):
                raise
            raise await _too_little_storage(js, plan, stream, error) from error


async def _ensure_stream(js: JetStreamContext, stream: StreamSpec, replicas: int) -> None:
    config = stream_config(stream, replicas)
    try:
        await js.add_stream(config)
    except APIError as error:
        # The server checks the storage before it looks whether the stream exists already.
        if not is_name_in_use(error) and not is_full(error):
            raise
        try:
            await js.update_stream(await _without_loss(js, stream, config))
        except NotFoundError:
            raise error from None


async def _without_loss(js: JetStreamContext, stream: StreamSpec, config: StreamConfig) -> StreamConfig:
    """The configuration without its new limit of a subject while more is stored: the server would delete the rest at
    once. The reconciler sets the limit when the messages are fewer.
    """
    if not stream.rejects_by_subject:
        return config
    there = await js.stream_info(stream.name)
    limit = there.config.max_msgs_per_subject or -1
    if 0 < limit <= stream.max_per_subject or there.state.messages <= stream.max_per_subject:
        return config
    return config.evolve(
        max_msgs_per_subject=limit, discard_new_per_subject=there.config.discard_new_per_subject
    )


async def _too_little_storage(
    js: JetStreamContext, plan: JetStreamPlan, refused: StreamSpec, error: APIError
) -> ConfigurationRefused:
    names = {stream.name for stream in STREAMS}
    reserved = sum(
        info.config.max_bytes or 0 for info in await js.streams_info() if info.config.name in names
    )
    limit = (await js.account_info()).limits.max_storage
    there = limit if limit > 0 else reserved + refused.max_bytes
    needed, least = (size_text(reserved_bytes(scale)) for scale in (plan.store_scale, MIN_STORE_SCALE))
    problem = (
        f"JetStream has too little file storage: the streams need {needed} and there is "
        f"{'' if limit > 0 else 'less than '}{size_text(there)} ({refused.name}: {error.description})"
    )
    fix = f"raise max_file in the server's jetstream section to more than {needed}"
    if there > reserved_bytes(MIN_STORE_SCALE):
        fix += (
            f", or set PENSTOCK_STORE_SCALE below {plan.store_scale:g}: at {MIN_STORE_SCALE:g}, the least, the "
            f"streams need {least}"
        )
    elif plan.store_scale > MIN_STORE_SCALE:
        fix += f"; at the least PENSTOCK_STORE_SCALE, {MIN_STORE_SCALE:g}, they need {least}"
    return ConfigurationRefused("NATS server", [Problem(problem=problem, fix=fix)])


def reserved_bytes(store_scale: float) -> int:
    """Bytes that JetStream reserves for the streams."""
    return sum(stream.scaled(store_scale).max_bytes for stream in STREAMS)


def consumer_config(consumer: Consumer, ack_wait_s: float) -> ConsumerConfig:
    return ConsumerConfig(
        durable_name=consumer.durable,
        filter_subject=consumer.filter_subject,
        ack_policy=AckPolicy.EXPLICIT,
        ack_wait=ack_wait_s,
        max_deliver=-1,  # the mailbox bounds deliveries: the server would leave the message in the stream
        max_ack_pending=consumer.max_ack_pending,
    )


def bucket_config(bucket: BucketSpec) -> StreamConfig:
    """The settings of the bucket's stream that Penstock chooses; nats-py sets the rest."""
    return StreamConfig(
        name=f"KV_{bucket.name}",
        max_age=bucket.ttl_s,
        max_msgs_per_subject=bucket.history,
        max_msgs=bucket.max_messages,
        duplicate_window=min(bucket.ttl_s or _BUCKET_DUPLICATES_S, _BUCKET_DUPLICATES_S),
        storage=StorageType.FILE,
        allow_direct=True,
        republish=_republished(bucket),
    )


async def _create_bucket(
    js: JetStreamContext, bucket: BucketSpec, republish: RePublish | None, replicas: int
) -> None:
    config = KeyValueConfig(
        bucket=bucket.name,
        description=bucket.purpose,
        ttl=bucket.ttl_s,
        history=bucket.history,
        storage=StorageType.FILE,
        replicas=replicas,
        direct=True,
        republish=republish,
    )
    try:
        await js.create_key_value(config)
    except APIError as error:
        # Another process has created it since, and has changed what a KeyValueConfig cannot say.
        if not is_name_in_use(error):
            raise


async def _ensure_bucket(js: JetStreamContext, bucket: BucketSpec, replicas: int) -> None:
    wanted = bucket_config(bucket)
    try:
        config = (await js.stream_info(f"KV_{bucket.name}")).config
    except NotFoundError:
        await _create_bucket(js, bucket, wanted.republish, replicas)
        config = (await js.stream_info(f"KV_{bucket.name}")).config
    await js.update_stream(
        config.evolve(
            max_age=wanted.max_age,
            max_msgs_per_subject=wanted.max_msgs_per_subject,
            max_msgs=wanted.max_msgs,
            duplicate_window=wanted.duplicate_window,
            allow_direct=wanted.allow_direct,
            republish=wanted.republish,
            num_replicas=replicas,
        )
    )


def _republished(bucket: BucketSpec) -> RePublish | None:
    if bucket.republished_as is None:
        return None
    return RePublish(src=f"$KV.{bucket.name}.>", dest=bucket.republished_as)


async def ensure(js: JetStreamContext, plan: JetStreamPlan) -> None:
    """Create what the contract and `plan` say, or change it to that. Safe to repeat, also from several processes.

    Everything is kept in files: a memory stream of a single server disappears with a restart and costs no less
    (docs/decisions/0002). Raises nats errors when the server refuses or cannot be reached, and ConfigurationRefused
    when it has too little storage.
    """
    await ensure_streams(js, plan)
    await ensure_consumers(js, plan.consumers, plan.ack_wait_s)
    for bucket in BUCKETS:
        await _ensure_bucket(js, bucket, plan.replicas)


async def ensure_consumers(js: JetStreamContext, consumers: Iterable[Consumer], ack_wait_s: float) -> None:
    """Create the consumers, or change them to what is wanted. Raises nats errors."""
    remaining = iter(consumers)

    async def create() -> None:
        for consumer in remaining:
            # nats-py's `pull_subscribe` would silently keep an existing consumer as it is.
            await js.add_consumer(consumer.stream, consumer_config(consumer, ack_wait_s))

    outcomes = await asyncio.gather(*(create() for _ in range(_AT_ONCE)), return_exceptions=True)
    for outcome in outcomes:
        if outcome is not None:
            raise outcome


async def ensure_eventually(js: JetStreamContext, plan: JetStreamPlan) -> None:
    """Call `ensure` until the server, which may still be starting, accepts everything.

    Raises ConfigurationRefused at once when the server has too little storage.
    """
    await retry(
        lambda: ensure(js, plan),
        on=(nats.errors.Error, TimeoutError),
        report=lambda error: _log.warning("JetStream is not ready (%s); trying again", _reason(error)),
        policy=_UNTIL_READY,
    )


def _reason(error: Exception) -> str:
    if isinstance(error, ServiceUnavailableError) and error.err_code is None:
        return "the NATS server has no JetStream; start it with -js"
    known = advice(error) if isinstance(error, APIError) else ""
    return f"{error}. {known}".removesuffix(". ") or type(error).__name__
