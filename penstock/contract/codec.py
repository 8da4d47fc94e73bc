"""One encoder for all messages and one typed decoder per kind of message.

Decoders are strict about types and ignore unknown fields, which a newer sender may add.
"""

from __future__ import annotations

from typing import Final

import msgspec

from penstock.contract.events import Event, HoldReleased, UsageRecorded
from penstock.contract.guard.checks import Classification, ClassifyRequest, GuardCheck, GuardVerdict
from penstock.contract.guard.policies import GuardPolicy
from penstock.contract.headers import DeadHistory
from penstock.contract.idempotency import IdempotencyRecord
from penstock.contract.jobs import Job, JobResult
from penstock.contract.keys import ApiKey
from penstock.contract.ledger.holds import HoldAnswer, HoldBatch, HoldBatchAnswer, HoldRequest
from penstock.contract.ledger.journal import JournalBatch, LedgerSnapshot
from penstock.contract.ledger.policies import BudgetPolicy, PriceOverride
from penstock.contract.ledger.spend import RecentSpend, SpendQuery, SpendReport
from penstock.contract.ledger.status import BudgetQuery, BudgetReport
from penstock.contract.presence import Presence
from penstock.contract.quota import QuotaRecord
from penstock.contract.reply import ReaderBehind, ReplyEvent
from penstock.contract.request import ChatRequest, EmbedRequest, IndexRequest
from penstock.contract.retrieval.collections import CollectionRecord, CollectionsQuery, CollectionsReport
from penstock.contract.retrieval.documents import IndexBody, IndexReport
from penstock.contract.retrieval.embeddings import EmbedResult, VectorBlock
from penstock.contract.retrieval.search import (
    DocumentsQuery,
    DocumentsReport,
    SearchAnswer,
    SearchFailed,
    SearchRequest,
)
from penstock.contract.traces.kept import TracesKept
from penstock.contract.work import ChatWork

__all__ = [
    "API_KEY",
    "BUDGET_POLICY",
    "BUDGET_QUERY",
    "BUDGET_REPORT",
    "CLASSIFICATION",
    "CLASSIFY_REQUEST",
    "COLLECTIONS_ANSWER",
    "COLLECTIONS_QUERY",
    "COLLECTION_RECORD",
    "DEAD_HISTORY",
    "DOCUMENTS_ANSWER",
    "DOCUMENTS_QUERY",
    "EMBED_REQUEST",
    "EMBED_RESULT",
    "EVENT",
    "GUARD_CHECK",
    "GUARD_POLICY",
    "GUARD_VERDICT",
    "HOLD_ANSWER",
    "HOLD_BATCH_ANSWER",
    "HOLD_REQUEST",
    "IDEMPOTENCY",
    "INDEX_BODY",
    "INDEX_REPORT",
    "INDEX_REQUEST",
    "INVALID",
    "JOB",
    "JOURNAL",
    "PRESENCE",
    "PRICE_OVERRIDE",
    "QUOTA",
    "READER_BEHIND",
    "RECENT_SPEND",
    "REPLY",
    "REQUEST",
    "RESULT",
    "SEARCH_ANSWER",
    "SEARCH_REQUEST",
    "SNAPSHOT",
    "SPEND_QUERY",
    "SPEND_REPORT",
    "TRACES_KEPT",
    "USAGE",
    "VECTOR_BLOCK",
    "WORK",
    "encode",
]

_encoder: Final = msgspec.json.Encoder()

REQUEST: Final = msgspec.json.Decoder(ChatRequest)
EMBED_REQUEST: Final = msgspec.json.Decoder(EmbedRequest)
INDEX_REQUEST: Final = msgspec.json.Decoder(IndexRequest)
INDEX_BODY: Final = msgspec.json.Decoder(IndexBody)
INDEX_REPORT: Final = msgspec.json.Decoder(IndexReport)
EMBED_RESULT: Final = msgspec.json.Decoder(EmbedResult)
VECTOR_BLOCK: Final = msgspec.json.Decoder(VectorBlock)
SEARCH_REQUEST: Final = msgspec.json.Decoder(SearchRequest)
SEARCH_ANSWER: Final[msgspec.json.Decoder[SearchAnswer | SearchFailed]] = msgspec.json.Decoder(
    SearchAnswer | SearchFailed
)
DOCUMENTS_QUERY: Final = msgspec.json.Decoder(DocumentsQuery)
DOCUMENTS_ANSWER: Final[msgspec.json.Decoder[DocumentsReport | SearchFailed]] = msgspec.json.Decoder(
    DocumentsReport | SearchFailed
)
COLLECTIONS_QUERY: Final = msgspec.json.Decoder(CollectionsQuery)
COLLECTIONS_ANSWER: Final[msgspec.json.Decoder[CollectionsReport | SearchFailed]] = msgspec.json.Decoder(
    CollectionsReport | SearchFailed
)
COLLECTION_RECORD: Final = msgspec.json.Decoder(CollectionRecord)
WORK: Final = msgspec.json.Decoder(ChatWork)
REPLY: Final[msgspec.json.Decoder[ReplyEvent]] = msgspec.json.Decoder(ReplyEvent)
READER_BEHIND: Final = msgspec.json.Decoder(ReaderBehind)
TRACES_KEPT: Final = msgspec.json.Decoder(TracesKept)
EVENT: Final[msgspec.json.Decoder[Event]] = msgspec.json.Decoder(Event)
HOLD_REQUEST: Final[msgspec.json.Decoder[HoldRequest | HoldBatch]] = msgspec.json.Decoder(
    HoldRequest | HoldBatch
)
HOLD_ANSWER: Final[msgspec.json.Decoder[HoldAnswer]] = msgspec.json.Decoder(HoldAnswer)
HOLD_BATCH_ANSWER: Final = msgspec.json.Decoder(HoldBatchAnswer)
USAGE: Final[msgspec.json.Decoder[UsageRecorded | HoldReleased]] = msgspec.json.Decoder(
    UsageRecorded | HoldReleased
)
JOURNAL: Final = msgspec.json.Decoder(JournalBatch)
SNAPSHOT: Final = msgspec.json.Decoder(LedgerSnapshot)
BUDGET_POLICY: Final = msgspec.json.Decoder(BudgetPolicy)
GUARD_CHECK: Final = msgspec.json.Decoder(GuardCheck)
GUARD_VERDICT: Final = msgspec.json.Decoder(GuardVerdict)
GUARD_POLICY: Final = msgspec.json.Decoder(GuardPolicy)
CLASSIFY_REQUEST: Final = msgspec.json.Decoder(ClassifyRequest)
CLASSIFICATION: Final = msgspec.json.Decoder(Classification)
PRICE_OVERRIDE: Final = msgspec.json.Decoder(PriceOverride)
BUDGET_QUERY: Final = msgspec.json.Decoder(BudgetQuery)
BUDGET_REPORT: Final = msgspec.json.Decoder(BudgetReport)
SPEND_QUERY: Final = msgspec.json.Decoder(SpendQuery)
SPEND_REPORT: Final = msgspec.json.Decoder(SpendReport)
RECENT_SPEND: Final = msgspec.json.Decoder(RecentSpend)
PRESENCE: Final = msgspec.json.Decoder(Presence)
QUOTA: Final = msgspec.json.Decoder(QuotaRecord)
API_KEY: Final = msgspec.json.Decoder(ApiKey)
IDEMPOTENCY: Final = msgspec.json.Decoder(IdempotencyRecord)
JOB: Final = msgspec.json.Decoder(Job)
RESULT: Final = msgspec.json.Decoder(JobResult)
DEAD_HISTORY: Final = msgspec.json.Decoder(DeadHistory)


INVALID: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What a decoder raises for bytes that are not such a message; RecursionError: they are nested too deeply."""


def encode(message: msgspec.Struct) -> bytes:
    """The message as UTF-8 JSON."""
    return _encoder.encode(message)
