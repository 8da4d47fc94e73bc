"""Each channel: what travels on it, how it is delivered, who sends, who reads. AsyncAPI is made from this."""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct

from penstock.contract import streams, subjects
from penstock.contract.events import (
    BreakerChanged,
    CredentialAged,
    CredentialAvailabilityChanged,
    CredentialRotated,
    ModelAvailabilityChanged,
    QuotaEased,
    QuotaPaused,
    QuotaWarned,
    UsageRecorded,
)
from penstock.contract.explain import RoutingExplained
from penstock.contract.jobs import Job, JobResult
from penstock.contract.presence import Presence
from penstock.contract.quota import QuotaRecord
from penstock.contract.reply import Accepted, Completed, Delta, Failed, Restarted, Started
from penstock.contract.request import CancelRequest, ChatRequest
from penstock.contract.work import ChatWork

__all__ = ["CHANNELS", "MESSAGES", "Channel"]


class Channel(Struct, frozen=True, kw_only=True):
    """One kind of subject."""

    name: str
    subject: str
    messages: tuple[type[Struct], ...]
    delivery: Literal["work queue", "stored and live", "stored", "request/reply", "key-value"]
    stream: str | None = None
    producers: tuple[str, ...]
    consumers: tuple[str, ...]
    limits: str
    purpose: str


CHANNELS: Final = (
    Channel(
        name="requests",
        subject=subjects.REQUEST,
        messages=(ChatRequest,),
        delivery="work queue",
        stream=streams.REQUESTS.name,
        producers=("application", "command line"),
        consumers=("router",),
        limits=f"{streams.MAX_REQUEST_BYTES:,} bytes a message; "
        "`Nats-Msg-Id` = account.client.id, duplicates of 10 minutes are refused",
        purpose="Ask. JetStream's ack means accepted: exactly one `completed` or `failed` follows.",
    ),
    Channel(
        name="replies",
        subject=subjects.REPLY,
        messages=(Accepted, Started, Delta, Restarted, Completed, Failed),
        delivery="stored and live",
        stream=streams.REPLIES.name,
        producers=("router", "worker"),
        consumers=("application", "any observer"),
        limits="stored 15 minutes",
        purpose="What becomes of a request, in order of `seq`.",
    ),
    Channel(
        name="cancels",
        subject=subjects.CANCEL,
        messages=(CancelRequest,),
        delivery="stored and live",
        stream=streams.CANCELS.name,
        producers=("application",),
        consumers=("router", "worker"),
        limits="the mark is kept 25 hours",
        purpose="Stop a request: a running provider call at once, queued work when its turn comes.",
    ),
    Channel(
        name="work",
        subject=subjects.WORK,
        messages=(ChatWork,),
        delivery="work queue",
        stream=streams.WORK.name,
        producers=("router",),
        consumers=("worker",),
        limits="8 MiB a message",
        purpose="A role's mailbox; a worker pulls when it has a free slot and quota, the low ranks first. `flow` "
        "stands for account and user; `rank`, 0 to 3, grows with how many requests they have in the mailbox.",
    ),
    Channel(
        name="jobs",
        subject=subjects.JOB,
        messages=(Job,),
        delivery="stored and live",
        stream=streams.JOBS.name,
        producers=("router", "worker", "command line"),
        consumers=("application", "any observer"),
        limits=f"one record per job, {streams.JOBS.max_messages:,} jobs, half of them of one account at most; stored "
        "48 hours after its last change, less where ended ones make way for new ones",
        purpose="The status of a request of the batch lane, by its id.",
    ),
    Channel(
        name="results",
        subject=subjects.RESULT,
        messages=(JobResult,),
        delivery="stored",
        stream=streams.RESULTS.name,
        producers=("worker",),
        consumers=("application",),
        limits="stored 48 hours, 512 MiB in all: at the bound the oldest go first",
        purpose="What a completed job answered; `attempt` is the one that stands in its status.",
    ),
    Channel(
        name="events",
        subject=subjects.EVENT,
        messages=(
            UsageRecorded,
            BreakerChanged,
            QuotaPaused,
            ModelAvailabilityChanged,
            CredentialRotated,
            CredentialAvailabilityChanged,
            CredentialAged,
            QuotaWarned,
            QuotaEased,
        ),
        delivery="stored",
        stream=streams.EVENTS.name,
        producers=("worker",),
        consumers=("any observer",),
        limits="stored 30 days",
        purpose="Facts for accounting and audit.",
    ),
    Channel(
        name="explain",
        subject=subjects.EXPLAIN,
        messages=(ChatRequest, RoutingExplained),
        delivery="request/reply",
        producers=("command line", "application"),
        consumers=("router",),
        limits="8 MiB a message",
        purpose="How would this request be routed? Nothing is spent.",
    ),
    Channel(
        name="presence",
        subject=f"$KV.{streams.PRESENCE.name}.{{service}}.{{instance}}",
        messages=(Presence,),
        delivery="key-value",
        producers=("router", "worker"),
        consumers=("router", "command line"),
        limits=f"forgotten after {streams.PRESENCE.ttl_s} s of silence",
        purpose="Who is alive, with its limits and breakers.",
    ),
    Channel(
        name="quota",
        subject="$KV.llm_quota.{owner}.{model}",
        messages=(QuotaRecord,),
        delivery="key-value",
        producers=("worker",),
        consumers=("worker",),
        limits="compare-and-set only; forgotten after 2 days without use; republished as llm.quota.>",
        purpose="What was spent and is leased of one quota, for all workers together.",
    ),
    Channel(
        name="dead",
        subject=subjects.DEAD,
        messages=(),
        delivery="stored",
        stream=streams.DEAD.name,
        producers=("router", "worker"),
        consumers=("command line",),
        limits="stored 30 days",
        purpose="The original message as the body, the reason in `Penstock-Dead-*` headers.",
    ),
)

MESSAGES: Final[tuple[type[Struct], ...]] = tuple(
    dict.fromkeys(message for channel in CHANNELS for message in channel.messages)
)
