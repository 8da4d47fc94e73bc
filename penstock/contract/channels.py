"""Every channel: its messages, delivery, producers, consumers and limits.

The AsyncAPI document and the table in schemas/README.md are generated from this list.
"""

from __future__ import annotations

from typing import Final, get_args

from msgspec import Struct

from penstock.contract import streams, subjects
from penstock.contract.channel import MESSAGE_LIMIT, Channel, duration, size
from penstock.contract.events import Event, HoldReleased, UsageRecorded
from penstock.contract.explain import RoutingExplained
from penstock.contract.guard.checks import (
    MAX_CLASSIFIED_CHARACTERS,
    Classification,
    ClassifyRequest,
    GuardCheck,
    GuardVerdict,
)
from penstock.contract.guard.policies import GuardPolicy
from penstock.contract.idempotency import IdempotencyRecord
from penstock.contract.jobs import Job, JobResult
from penstock.contract.keys import ApiKey
from penstock.contract.ledger.holds import HoldBatch, HoldBatchAnswer, HoldGranted, HoldRefused, HoldRequest
from penstock.contract.ledger.journal import JournalBatch, LedgerSnapshot
from penstock.contract.ledger.policies import BudgetPolicy, PriceOverride
from penstock.contract.ledger.spend import RecentSpend, SpendQuery, SpendReport
from penstock.contract.ledger.status import BudgetQuery, BudgetReport
from penstock.contract.presence import Presence
from penstock.contract.quota import QuotaRecord
from penstock.contract.readers.subjects import READING
from penstock.contract.reply import (
    Accepted,
    Completed,
    Delta,
    Failed,
    IndexProgress,
    ReaderBehind,
    Restarted,
    Started,
)
from penstock.contract.request import CancelRequest, ChatRequest, EmbedRequest, IndexRequest
from penstock.contract.retrieval.channels import RETRIEVAL_CHANNELS
from penstock.contract.traces.channels import TRACE_CHANNELS
from penstock.contract.work import ChatWork

__all__ = ["CHANNELS", "MESSAGES"]


_USAGE: Final[tuple[type[Struct], ...]] = (UsageRecorded, HoldReleased)


def _spend_history(grain: str, stream: streams.StreamSpec) -> Channel:
    stored = (
        f"stored for {duration(stream.max_age_s)}" if stream.max_age_s else "stored without a limit of time"
    )
    return Channel(
        name=f"spend-{grain}s",
        subject=subjects.SPEND.replace("{grain}", grain),
        messages=(),
        delivery="stored",
        stream=stream.name,
        producers=("ledger",),
        consumers=("ledger", "command line"),
        limits=f"{stored}; {size(stream.max_bytes)} in all by default",
        purpose=f"Spend by {grain}: arrays of `SpendRow` as JSON compressed by zlib, in chunks that add up.",
    )


CHANNELS: Final = (
    Channel(
        name="requests",
        subject=subjects.REQUEST,
        messages=(ChatRequest, EmbedRequest, IndexRequest),
        delivery="work queue",
        stream=streams.REQUESTS.name,
        producers=("application", "command line", "edge", "indexer", "worker"),
        consumers=("router",),
        limits=f"{streams.MAX_REQUEST_BYTES:,} bytes per message; one message per `Nats-Msg-Id` (account.client.id) "
        f"within {duration(streams.REQUESTS.duplicate_window_s)}",
        purpose="Send a request. JetStream's acknowledgement means accepted: exactly one `completed` or `failed` "
        "follows.",
    ),
    Channel(
        name="batch-requests",
        subject=subjects.BATCH_REQUEST,
        messages=(ChatRequest, EmbedRequest, IndexRequest),
        delivery="work queue",
        stream=streams.REQUESTS.name,
        producers=("application", "command line", "edge", "indexer", "worker"),
        consumers=("router",),
        limits="as for requests",
        purpose="Send a request of the batch lane: it waits apart, so that many of them delay no other request. On the "
        "subject of the other requests it is accepted too.",
    ),
    Channel(
        name="replies",
        subject=subjects.REPLY,
        messages=(Accepted, Started, Delta, IndexProgress, Restarted, Completed, Failed),
        delivery="stored and live",
        stream=streams.REPLIES.name,
        producers=("router", "worker", "indexer"),
        consumers=("application", "router", "worker", "indexer", "any observer"),
        limits=f"stored for {duration(streams.REPLIES.max_age_s)}",
        purpose="The events of a reply, in order of `seq`.",
    ),
    Channel(
        name="readers",
        subject=READING,
        messages=(ReaderBehind,),
        delivery="live",
        producers=("application", "edge"),
        consumers=("router",),
        limits=MESSAGE_LIMIT,
        purpose="A reader of replies is behind. While there is no room for all replies, routers keep what it has not "
        "read yet.",
    ),
    Channel(
        name="cancels",
        subject=subjects.CANCEL,
        messages=(CancelRequest,),
        delivery="stored and live",
        stream=streams.CANCELS.name,
        producers=("application", "command line"),
        consumers=("router", "worker"),
        limits=f"stored for {duration(streams.CANCELS.max_age_s)}",
        purpose="Stop a request: a running provider call at once, queued work at the router's next sweep, once a "
        "second.",
    ),
    Channel(
        name="work",
        subject=subjects.WORK,
        messages=(ChatWork,),
        delivery="work queue",
        stream=streams.WORK.name,
        producers=("router",),
        consumers=("worker", "indexer"),
        limits=MESSAGE_LIMIT,
        purpose="The mailbox of a role, from which a worker with a free slot and quota pulls the low ranks first. "
        "`flow` stands for account and user; `rank` (0 to 4) grows with the number of their requests in the mailbox.",
    ),
    Channel(
        name="bodies",
        subject=subjects.BODY,
        messages=(),
        delivery="stored",
        stream=streams.BODIES.name,
        producers=("application", "command line"),
        consumers=("router", "worker", "command line"),
        limits=f"{size(streams.MAX_BODY_BYTES)} per body, {size(streams.BODIES.max_bytes)} in all by default, then "
        f"new ones are rejected; stored until the request ends, at most for {duration(streams.BODIES.max_age_s)}",
        purpose="The body of a request that exceeds a message, in parts of 4 KiB and more; `offset` is that of the "
        "first byte of a part; `upload` is an id of the time it is stored. They are stored before the request, whose "
        "`body_ref` has size and digest.",
    ),
    Channel(
        name="jobs",
        subject=subjects.JOB,
        messages=(Job,),
        delivery="stored and live",
        stream=streams.JOBS.name,
        producers=("router", "worker", "command line"),
        consumers=("application", "command line", "router", "worker", "any observer"),
        limits=f"one record per job; {streams.JOBS.max_messages:,} jobs, at most half of them of one account; stored "
        f"for {duration(streams.JOBS.max_age_s)} after the last change, less if ended jobs are deleted for new ones",
        purpose="The status of a job, a request of the batch lane.",
    ),
    Channel(
        name="results",
        subject=subjects.RESULT,
        messages=(JobResult,),
        delivery="stored",
        stream=streams.RESULTS.name,
        producers=("worker", "router"),
        consumers=("application", "command line", "router", "worker"),
        limits=f"stored for {duration(streams.RESULTS.max_age_s)}; {size(streams.RESULTS.max_bytes)} in all by "
        "default, then the oldest are deleted",
        purpose="The answer of a completed job; `attempt` is the one in its status.",
    ),
    Channel(
        name="events",
        subject=subjects.EVENT,
        messages=tuple(each for each in get_args(Event) if each not in _USAGE),
        delivery="stored",
        stream=streams.AUDIT.name,
        producers=("worker", "ledger", "guard", "command line"),
        consumers=("worker", "any observer"),
        limits=f"stored for {duration(streams.AUDIT.max_age_s)}",
        purpose="Facts for accounting and audit; workers apply `quota_paused` of each other.",
    ),
    Channel(
        name="usage",
        subject=subjects.USAGE,
        messages=_USAGE,
        delivery="stored",
        stream=streams.EVENTS.name,
        producers=("worker", "router"),
        consumers=("ledger", "any observer"),
        limits=f"stored for {duration(streams.EVENTS.max_age_s)}",
        purpose="What each attempt used, and which holds may be released; `partition` is the ledger's of the account.",
    ),
    Channel(
        name="ledger-hold",
        subject=subjects.LEDGER_HOLD,
        messages=(HoldRequest, HoldGranted, HoldRefused, HoldBatch, HoldBatchAnswer),
        delivery="request/reply",
        producers=("router", "worker", "ledger"),
        consumers=("ledger",),
        limits=MESSAGE_LIMIT,
        purpose="Reserve the estimated cost of a request before it is queued; a batch goes to the partition `system`.",
    ),
    Channel(
        name="ledger-budget",
        subject=subjects.LEDGER_BUDGET,
        messages=(BudgetQuery, BudgetReport),
        delivery="request/reply",
        producers=("command line", "application"),
        consumers=("ledger",),
        limits=MESSAGE_LIMIT,
        purpose="What is left of a budget.",
    ),
    Channel(
        name="ledger-recent",
        subject=subjects.LEDGER_RECENT,
        messages=(SpendQuery, RecentSpend),
        delivery="request/reply",
        producers=("ledger",),
        consumers=("ledger",),
        limits=MESSAGE_LIMIT,
        purpose="What a partition has settled and not yet written into the history; a question without a body asks "
        "for every row.",
    ),
    Channel(
        name="ledger-spend",
        subject=subjects.LEDGER_SPEND,
        messages=(SpendQuery, SpendReport),
        delivery="request/reply",
        producers=("command line", "application"),
        consumers=("ledger",),
        limits=MESSAGE_LIMIT,
        purpose="What was spent, by account, user, key, model, role, hour, day and month.",
    ),
    Channel(
        name="journal",
        subject=subjects.JOURNAL,
        messages=(JournalBatch,),
        delivery="stored",
        stream=streams.JOURNAL.name,
        producers=("ledger",),
        consumers=("ledger", "command line"),
        limits=f"one writer per partition; stored for {duration(streams.JOURNAL.max_age_s)}, "
        f"{size(streams.JOURNAL.max_bytes)} in all by default",
        purpose="Every hold, settlement, release and alert, in order.",
    ),
    Channel(
        name="snapshots",
        subject=subjects.SNAPSHOT,
        messages=(LedgerSnapshot,),
        delivery="stored",
        stream=streams.SNAPSHOTS.name,
        producers=("ledger",),
        consumers=("ledger", "command line"),
        limits=f"one per partition; {size(streams.SNAPSHOTS.max_bytes)} in all by default",
        purpose="The state of a partition; the message is its `head`, and the parts are binary.",
    ),
    _spend_history("hour", streams.SPEND_HOURS),
    _spend_history("day", streams.SPEND_DAYS),
    _spend_history("month", streams.SPEND_MONTHS),
    Channel(
        name="budgets",
        subject=f"$KV.{streams.BUDGETS.name}.{{record}}",
        messages=(BudgetPolicy, PriceOverride),
        delivery="key-value",
        producers=("command line",),
        consumers=("ledger", "router", "worker", "command line"),
        limits=f"compare-and-set only; entries do not expire; republished on `{subjects.BUDGETS_STORED}`",
        purpose="Budget policies and prices that were changed while services run.",
    ),
    Channel(
        name="guard-policies",
        subject=f"$KV.{streams.GUARD_POLICIES.name}.{{record}}",
        messages=(GuardPolicy,),
        delivery="key-value",
        producers=("command line",),
        consumers=("guard", "worker", "command line"),
        limits=f"compare-and-set only; entries do not expire; republished on `{subjects.GUARD_POLICIES_STORED}`",
        purpose="Guard policies that were changed while services run.",
    ),
    Channel(
        name="guard-checks",
        subject=subjects.GUARD_CHECK,
        messages=(GuardCheck, GuardVerdict),
        delivery="request/reply",
        producers=("worker", "edge", "command line"),
        consumers=("guard",),
        limits=MESSAGE_LIMIT,
        purpose="Check texts of a request or an answer. One of all guards answers; empty messages come while it "
        "needs longer. A repeated check is harmless.",
    ),
    Channel(
        name="guard-checks-of-one",
        subject=subjects.GUARD_CHECK_OF,
        messages=(GuardCheck, GuardVerdict),
        delivery="request/reply",
        producers=("worker", "edge", "command line"),
        consumers=("guard",),
        limits=MESSAGE_LIMIT,
        purpose="The same for one guard: where checks are sent while another one does not answer.",
    ),
    Channel(
        name="classify",
        subject=subjects.CLASSIFY,
        messages=(ClassifyRequest, Classification),
        delivery="request/reply",
        producers=("router",),
        consumers=("guard",),
        limits=f"the first {MAX_CLASSIFIED_CHARACTERS} characters of a text",
        purpose="The topic of a text that the router's rules do not recognise.",
    ),
    *RETRIEVAL_CHANNELS,
    *TRACE_CHANNELS,
    Channel(
        name="explain",
        subject=subjects.EXPLAIN,
        messages=(ChatRequest, RoutingExplained, Failed),
        delivery="request/reply",
        producers=("command line", "application"),
        consumers=("router",),
        limits=MESSAGE_LIMIT,
        purpose="How a request would be routed, or `failed` if it would be rejected; without a provider call.",
    ),
    Channel(
        name="presence",
        subject=f"$KV.{streams.PRESENCE.name}.{{service}}.{{instance}}",
        messages=(Presence,),
        delivery="key-value",
        producers=("router", "worker", "ledger"),
        consumers=("router", "worker", "ledger", "command line"),
        limits=f"deleted after {duration(streams.PRESENCE.ttl_s)} without a heartbeat",
        purpose="The heartbeat of a service, with its limits and breakers.",
    ),
    Channel(
        name="quota",
        subject=f"$KV.{streams.QUOTA.name}.{{owner}}.{{model}}",
        messages=(QuotaRecord,),
        delivery="key-value",
        producers=("worker",),
        consumers=("worker",),
        limits=f"compare-and-set only; deleted {duration(streams.QUOTA.ttl_s)} after the last write; republished on "
        f"`{subjects.QUOTA_STORED}`",
        purpose="Consumption and leases of one quota, shared by all workers.",
    ),
    Channel(
        name="keys",
        subject=f"$KV.{streams.KEYS.name}.{{prefix}}",
        messages=(ApiKey,),
        delivery="key-value",
        producers=("command line",),
        consumers=("edge", "command line"),
        limits=f"compare-and-set only; entries do not expire; republished on `{subjects.KEYS_STORED}`",
        purpose="What one API key of the HTTP edge allows, and its digest.",
    ),
    Channel(
        name="idempotency",
        subject=f"$KV.{streams.IDEMPOTENCY.name}.{{digest}}",
        messages=(IdempotencyRecord,),
        delivery="key-value",
        producers=("edge",),
        consumers=("edge",),
        limits=f"compare-and-set only; deleted {duration(streams.IDEMPOTENCY.ttl_s)} after the last write; "
        f"{streams.IDEMPOTENCY.max_messages:,} keys, then new ones are rejected",
        purpose="The request to which an idempotency key of the HTTP edge belongs.",
    ),
    Channel(
        name="dead",
        subject=subjects.DEAD,
        messages=(),
        delivery="stored",
        stream=streams.DEAD.name,
        producers=("router", "worker"),
        consumers=("command line",),
        limits=f"stored for {duration(streams.DEAD.max_age_s)}",
        purpose="A request that could not be processed: the original message as the body, the reason in "
        "`Penstock-Dead-*` headers.",
    ),
)

MESSAGES: Final[tuple[type[Struct], ...]] = tuple(
    dict.fromkeys(message for channel in CHANNELS for message in channel.messages)
)
