"""Every message with its example and its production decoder."""

from __future__ import annotations

from typing import Any, get_args

import msgspec

from penstock.contract import codec
from penstock.contract.channels import MESSAGES
from penstock.contract.events import Event
from penstock.contract.explain import RoutingExplained
from penstock.contract.generate import examples, tag
from penstock.contract.guard.checks import Classification, ClassifyRequest, GuardCheck, GuardVerdict
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
from penstock.contract.reply import ReaderBehind, ReplyEvent
from penstock.contract.request import CancelRequest, ChatRequest, EmbedRequest, IndexRequest
from penstock.contract.retrieval.collections import CollectionRecord, CollectionsQuery, CollectionsReport
from penstock.contract.retrieval.search import (
    DocumentsQuery,
    DocumentsReport,
    SearchAnswer,
    SearchFailed,
    SearchRequest,
)
from penstock.contract.traces.kept import TracesKept
from penstock.contract.work import ChatWork

BY_TAG = {tag(message): message for message in MESSAGES}
EXAMPLES = examples()
MAPS = frozenset(
    {"input", "output", "when_unavailable", "scores", "findings", "filters", "exclude", "metadata"}
)
"""Fields whose keys are data, where they hold an object."""
OPAQUE = frozenset({"body", "response", "choices", "filters", "exclude", "metadata"})
"""Fields that an application fills as it likes."""

DECODERS: dict[type[msgspec.Struct], msgspec.json.Decoder[Any]] = {
    ChatRequest: codec.REQUEST,
    EmbedRequest: codec.EMBED_REQUEST,
    IndexRequest: codec.INDEX_REQUEST,
    ChatWork: codec.WORK,
    SearchRequest: codec.SEARCH_REQUEST,
    **dict.fromkeys((SearchAnswer, SearchFailed), codec.SEARCH_ANSWER),
    DocumentsQuery: codec.DOCUMENTS_QUERY,
    DocumentsReport: codec.DOCUMENTS_ANSWER,
    CollectionsQuery: codec.COLLECTIONS_QUERY,
    CollectionsReport: codec.COLLECTIONS_ANSWER,
    CollectionRecord: codec.COLLECTION_RECORD,
    Presence: codec.PRESENCE,
    QuotaRecord: codec.QUOTA,
    ReaderBehind: codec.READER_BEHIND,
    TracesKept: codec.TRACES_KEPT,
    ApiKey: codec.API_KEY,
    IdempotencyRecord: codec.IDEMPOTENCY,
    Job: codec.JOB,
    JobResult: codec.RESULT,
    **dict.fromkeys((HoldRequest, HoldBatch), codec.HOLD_REQUEST),
    **dict.fromkeys((HoldGranted, HoldRefused), codec.HOLD_ANSWER),
    HoldBatchAnswer: codec.HOLD_BATCH_ANSWER,
    JournalBatch: codec.JOURNAL,
    LedgerSnapshot: codec.SNAPSHOT,
    BudgetPolicy: codec.BUDGET_POLICY,
    PriceOverride: codec.PRICE_OVERRIDE,
    BudgetQuery: codec.BUDGET_QUERY,
    BudgetReport: codec.BUDGET_REPORT,
    SpendQuery: codec.SPEND_QUERY,
    SpendReport: codec.SPEND_REPORT,
    RecentSpend: codec.RECENT_SPEND,
    GuardPolicy: codec.GUARD_POLICY,
    GuardCheck: codec.GUARD_CHECK,
    GuardVerdict: codec.GUARD_VERDICT,
    ClassifyRequest: codec.CLASSIFY_REQUEST,
    Classification: codec.CLASSIFICATION,
    CancelRequest: msgspec.json.Decoder(CancelRequest),
    RoutingExplained: msgspec.json.Decoder(RoutingExplained),
    **dict.fromkeys(get_args(ReplyEvent), codec.REPLY),
    **dict.fromkeys(get_args(Event), codec.EVENT),
}


def decode(name: str, value: object) -> msgspec.Struct:
    """`value` as JSON, read by the decoder that reads messages of this tag in production."""
    decoded: msgspec.Struct = DECODERS[BY_TAG[name]].decode(msgspec.json.encode(value))
    return decoded


def places(value: object, found_in: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """The path of every value inside `value`, except inside values that the contract passes through unchanged."""
    if isinstance(value, dict):
        children = [(key, child) for key, child in value.items() if key not in OPAQUE]
    elif isinstance(value, list):
        children = list(enumerate(value))
    else:
        return [found_in]
    return [found_in, *(path for key, child in children for path in places(child, (*found_in, key)))]


def at(value: Any, path: tuple[str | int, ...]) -> Any:
    for key in path:
        value = value[key]
    return value
