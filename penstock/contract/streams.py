"""Streams, consumers and buckets as data; one provisioning step creates them.

JetStream reserves the `max_bytes` of every stream, 4.4 GiB in all, on each node that keeps a copy.
`PENSTOCK_STORE_SCALE` multiplies all of them but the one that is bounded in number (`StreamSpec.scaled`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

from msgspec import Struct
from msgspec.structs import replace

from penstock.contract import subjects
from penstock.contract.intake.subjects import (
    INTAKE_BATCH_QUEUES,
    INTAKE_QUEUES,
    INTAKE_TRANSFORM,
    intake_of_batch_queue,
    intake_of_queue,
)
from penstock.contract.names import LANES, RANKS, Lane
from penstock.contract.request import LONGEST_WAIT_S
from penstock.contract.retrieval import subjects as retrieval_subjects

__all__ = [
    "AUDIT",
    "BODIES",
    "BODY_PART_BYTES",
    "BUCKETS",
    "BUDGETS",
    "CANCELS",
    "COLLECTIONS",
    "DEAD",
    "EMBEDDINGS",
    "EVENTS",
    "GUARD_POLICIES",
    "IDEMPOTENCY",
    "INTAKE",
    "INTAKE_BATCH",
    "INTAKE_INTERACTIVE",
    "JOBS",
    "JOURNAL",
    "KEYS",
    "MAX_BODY_BYTES",
    "MAX_PAYLOAD_BYTES",
    "MAX_PAYLOAD_SETTING",
    "MAX_REQUEST_BYTES",
    "PRESENCE",
    "QUOTA",
    "REPLIES",
    "REPLIES_LEAST_AGE_S",
    "REPLIES_SCARCE",
    "REQUESTS",
    "RESULTS",
    "ROUTER",
    "SNAPSHOTS",
    "SPEND_DAYS",
    "SPEND_HOURS",
    "SPEND_MONTHS",
    "STREAMS",
    "WORK",
    "BucketSpec",
    "Consumer",
    "StreamSpec",
    "largest_request",
    "mailbox",
    "mailboxes",
]

MINUTE_S: Final = 60
HOUR_S: Final = 60 * MINUTE_S
DAY_S: Final = 24 * HOUR_S
MIB: Final = 1024 * 1024
WAITING_S: Final = LONGEST_WAIT_S + DAY_S
"""Seconds for which a waiting message is stored: a day longer than it may wait, so that its end is published first."""

MAX_PAYLOAD_BYTES: Final = 8 * MIB
"""`max_payload` of the NATS server for headers and body together; nats-server advises against more."""
MAX_PAYLOAD_SETTING: Final = f"max_payload: {MAX_PAYLOAD_BYTES // MIB}MB"
"""The same as a line of the server's configuration."""
_ENVELOPE_BYTES: Final = 64 * 1024
MAX_REQUEST_BYTES: Final = MAX_PAYLOAD_BYTES - _ENVELOPE_BYTES
"""The limit of a request; the remaining bytes of a message are for the fields that the router adds."""
MAX_BODY_BYTES: Final = 64 * MIB
"""The limit of a body that is stored in parts because its request would exceed the limit of a message."""
BODY_PART_BYTES: Final = 512 * 1024
"""Size of these parts: small enough for every server, and for other messages between them on a connection."""


def largest_request(max_payload: int) -> int:
    """The limit of a request event at a server with this `max_payload`."""
    return min(MAX_REQUEST_BYTES, max(max_payload - _ENVELOPE_BYTES, max_payload // 2))


class StreamSpec(Struct, frozen=True, kw_only=True):
    """A JetStream stream."""

    name: str
    subjects: tuple[str, ...]
    retention: Literal["workqueue", "limits"]
    max_age_s: int
    max_bytes: int
    discard: Literal["old", "new"] = "old"
    """new: a full stream rejects new messages; old: it deletes the oldest ones."""
    max_per_subject: int = -1
    rejects_by_subject: bool = False
    """With `discard` new: a subject with `max_per_subject` messages rejects more, as a full stream does."""
    max_messages: int = -1
    """With `discard` new and one message per subject, a new subject is rejected and an existing one can be
    rewritten."""
    duplicate_window_s: int = 2 * MINUTE_S
    transform: tuple[str, str] | None = None
    """The server stores what is published on a subject of the first pattern under that of the second."""
    purpose: str

    @property
    def probe_subject(self) -> str:
        """Of the message that shows whether the stream can be written; no consumer reads it."""
        return subjects.PROBE.format(stream=self.name)

    def scaled(self, factor: float) -> StreamSpec:
        """The stream with `factor` times the bytes; unchanged if it is bounded in number, which its bytes fit."""
        return self if self.max_messages > 0 else replace(self, max_bytes=int(self.max_bytes * factor))


class Consumer(Struct, frozen=True, kw_only=True):
    """A durable pull consumer shared by all instances of a service."""

    stream: str
    durable: str
    filter_subject: str
    max_ack_pending: int = 10_000


class BucketSpec(Struct, frozen=True, kw_only=True):
    """A key-value bucket."""

    name: str
    ttl_s: int
    """0: entries do not expire."""
    history: int = 1
    max_messages: int = -1
    """A full bucket rejects new keys; -1: there is no limit."""
    republished_as: str | None = None
    """The server also publishes every stored entry on this subject as a plain message: a watch without a consumer,
    which survives the server and the bucket."""
    purpose: str


REQUESTS: Final = StreamSpec(
    name="LLM_REQUESTS",
    subjects=(subjects.REQUEST_ALL, subjects.BATCH_REQUEST_ALL),
    retention="workqueue",
    max_age_s=WAITING_S,
    max_bytes=256 * MIB,
    discard="new",
    max_per_subject=10_000,
    rejects_by_subject=True,
    duplicate_window_s=10 * MINUTE_S,
    transform=INTAKE_TRANSFORM,
    purpose="Requests of applications until a router has routed them, in queues by lane and account.",
)
WORK: Final = StreamSpec(
    name="LLM_WORK",
    subjects=(subjects.WORK_ALL,),
    retention="workqueue",
    max_age_s=WAITING_S,
    max_bytes=512 * MIB,
    discard="new",
    duplicate_window_s=10 * MINUTE_S,
    purpose="The mailboxes: one per role and lane, in five ranks.",
)
REPLIES: Final = StreamSpec(
    name="LLM_REPLIES",
    subjects=(subjects.REPLY_ALL,),
    retention="limits",
    max_age_s=15 * MINUTE_S,
    max_bytes=256 * MIB,
    duplicate_window_s=15 * MINUTE_S,
    purpose="Reply events: a stream can be resumed, and a second terminal event is rejected.",
)
REPLIES_LEAST_AGE_S: Final = 10
"""Seconds for which routers delete no reply event, however full `LLM_REPLIES` is."""
REPLIES_SCARCE: Final = 0.90625
"""The fill of `LLM_REPLIES` (29/32) above which replies wait for room (services/worker/replies)."""
EVENTS: Final = StreamSpec(
    name="LLM_EVENTS",
    subjects=(subjects.USAGE_ALL,),
    retention="limits",
    max_age_s=30 * DAY_S,
    max_bytes=192 * MIB,
    duplicate_window_s=10 * MINUTE_S,
    purpose="Usage of attempts, which the ledger settles; no other event can displace it.",
)
AUDIT: Final = StreamSpec(
    name="LLM_AUDIT",
    subjects=(subjects.EVENT_ALL,),
    retention="limits",
    max_age_s=30 * DAY_S,
    max_bytes=64 * MIB,
    duplicate_window_s=10 * MINUTE_S,
    purpose="Facts about breakers, quota, models, keys, policies and verdicts; the audit log.",
)
DEAD: Final = StreamSpec(
    name="LLM_DEAD",
    subjects=(subjects.DEAD_ALL,),
    retention="limits",
    max_age_s=30 * DAY_S,
    max_bytes=64 * MIB,
    purpose="Requests that could not be processed: the original message as the body, the reason in the headers.",
)
CANCELS: Final = StreamSpec(
    name="LLM_CANCELS",
    subjects=(subjects.CANCEL_ALL,),
    retention="limits",
    max_age_s=LONGEST_WAIT_S + HOUR_S,
    max_bytes=32 * MIB,
    max_per_subject=1,
    purpose="Cancel marks for work that is still queued.",
)
JOBS: Final = StreamSpec(
    name="LLM_JOBS",
    subjects=(subjects.JOB_ALL,),
    retention="limits",
    max_age_s=LONGEST_WAIT_S + DAY_S,
    max_bytes=512 * MIB,
    discard="new",
    max_per_subject=1,
    max_messages=100_000,
    purpose="The status of each job (a request of the batch lane); records of ended jobs are deleted for new ones.",
)
RESULTS: Final = StreamSpec(
    name="LLM_RESULTS",
    subjects=(subjects.RESULT_ALL,),
    retention="limits",
    max_age_s=LONGEST_WAIT_S + DAY_S,
    max_bytes=512 * MIB,
    max_per_subject=1,
    purpose="The answers of completed jobs; at the limit the oldest are deleted.",
)
BODIES: Final = StreamSpec(
    name="LLM_BODIES",
    subjects=(subjects.BODY_ALL,),
    retention="limits",
    max_age_s=LONGEST_WAIT_S + HOUR_S,
    max_bytes=1024 * MIB,
    discard="new",
    max_per_subject=1,
    purpose="Bodies of requests that exceed a message, in parts, until their requests end; a full stream rejects more.",
)
JOURNAL: Final = StreamSpec(
    name="LLM_JOURNAL",
    subjects=(subjects.JOURNAL_ALL,),
    retention="limits",
    max_age_s=40 * DAY_S,
    max_bytes=256 * MIB,
    purpose="The entries of the ledger; at the limit the oldest are deleted, or holds refused if no snapshot has them.",
)
SNAPSHOTS: Final = StreamSpec(
    name="LLM_SNAPSHOTS",
    subjects=(subjects.SNAPSHOT_ALL,),
    retention="limits",
    max_age_s=0,
    max_bytes=128 * MIB,
    discard="new",
    max_per_subject=1,
    purpose="The state of each partition of the ledger, from which its journal is continued.",
)
SPEND_HOURS: Final = StreamSpec(
    name="LLM_SPEND_HOURS",
    subjects=(subjects.spend_of("hour"),),
    retention="limits",
    max_age_s=35 * DAY_S,
    max_bytes=64 * MIB,
    max_per_subject=1,
    purpose="Spend by hour, in chunks that add up; at the limit the oldest are deleted.",
)
SPEND_DAYS: Final = StreamSpec(
    name="LLM_SPEND_DAYS",
    subjects=(subjects.spend_of("day"),),
    retention="limits",
    max_age_s=400 * DAY_S,
    max_bytes=64 * MIB,
    max_per_subject=1,
    purpose="Spend by day, summed from the hours; at the limit the oldest are deleted.",
)
SPEND_MONTHS: Final = StreamSpec(
    name="LLM_SPEND_MONTHS",
    subjects=(subjects.spend_of("month"),),
    retention="limits",
    max_age_s=0,
    max_bytes=32 * MIB,
    max_per_subject=1,
    purpose="Spend by month, summed from the days; at the limit the oldest are deleted.",
)
EMBEDDINGS: Final = StreamSpec(
    name="LLM_EMBEDDINGS",
    subjects=(retrieval_subjects.EMBEDDING_ALL,),
    retention="limits",
    max_age_s=30 * DAY_S,
    max_bytes=512 * MIB,
    max_per_subject=1,
    purpose="Vectors of texts, by the digest of model, dimensions and text; at the limit the oldest are deleted.",
)
STREAMS: Final = (
    *(REQUESTS, WORK, REPLIES, EVENTS, AUDIT, DEAD, CANCELS, JOBS, RESULTS, BODIES),
    *(JOURNAL, SNAPSHOTS, SPEND_HOURS, SPEND_DAYS, SPEND_MONTHS, EMBEDDINGS),
)

PRESENCE: Final = BucketSpec(name="llm_presence", ttl_s=30, purpose="The heartbeats of live services.")
QUOTA: Final = BucketSpec(
    name="llm_quota",
    ttl_s=2 * DAY_S,
    republished_as=subjects.QUOTA_STORED,
    purpose="Consumption and leases of each (credential or quota group, model), shared by all workers.",
)
KEYS: Final = BucketSpec(
    name="llm_keys",
    ttl_s=0,
    republished_as=subjects.KEYS_STORED,
    purpose="The API keys of the HTTP edge: what each allows, and its digest.",
)
IDEMPOTENCY: Final = BucketSpec(
    name="llm_idempotency",
    ttl_s=REPLIES.max_age_s,
    max_messages=200_000,
    purpose="The request to which each idempotency key of the HTTP edge belongs, for as long as replies are stored.",
)
BUDGETS: Final = BucketSpec(
    name="llm_budgets",
    ttl_s=0,
    republished_as=subjects.BUDGETS_STORED,
    purpose="Budget policies and price overrides that were set while services run.",
)
GUARD_POLICIES: Final = BucketSpec(
    name="llm_guard",
    ttl_s=0,
    republished_as=subjects.GUARD_POLICIES_STORED,
    purpose="Guard policies that were set while services run.",
)
COLLECTIONS: Final = BucketSpec(
    name="llm_collections",
    ttl_s=0,
    republished_as=retrieval_subjects.COLLECTIONS_STORED,
    purpose="The collections of documents: which table of the store each is read from.",
)
BUCKETS: Final = (PRESENCE, QUOTA, KEYS, IDEMPOTENCY, BUDGETS, GUARD_POLICIES, COLLECTIONS)

ROUTER: Final = Consumer(stream=REQUESTS.name, durable="router", filter_subject=subjects.REQUEST_ALL)
"""The requests that were stored under the subject on which they were published, by a stream of version 0.1."""
INTAKE_INTERACTIVE: Final = (
    ROUTER,
    *(
        Consumer(
            stream=REQUESTS.name,
            durable=f"router-interactive-{queue}",
            filter_subject=intake_of_queue(queue),
        )
        for queue in range(INTAKE_QUEUES)
    ),
)
INTAKE_BATCH: Final = tuple(
    Consumer(
        stream=REQUESTS.name,
        durable=f"router-batch-{queue}",
        filter_subject=intake_of_batch_queue(queue),
    )
    for queue in range(INTAKE_BATCH_QUEUES)
)
INTAKE: Final = (*INTAKE_INTERACTIVE, *INTAKE_BATCH)
"""The consumers through which every router pulls."""


def mailbox(role: str, lane: Lane) -> tuple[Consumer, ...]:
    """The consumers, one for each rank, through which every worker of `role` pulls `lane`."""
    return tuple(
        Consumer(
            stream=WORK.name,
            durable=f"{role}-{lane}-{rank}",
            filter_subject=subjects.work_of_rank(role, lane, rank),
        )
        for rank in RANKS
    )


def mailboxes(roles: Iterable[str]) -> tuple[Consumer, ...]:
    """The consumers of all mailboxes of `roles`."""
    return tuple(consumer for role in roles for lane in LANES for consumer in mailbox(role, lane))
