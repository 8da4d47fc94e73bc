"""The names of all spans and their attributes.

GenAI: OpenTelemetry semantic conventions v1.41, docs/gen-ai (status: development). Messaging: semantic conventions
v1.44, docs/messaging (status: development); `nats` is a custom value of `messaging.system`, which they allow.
"""

from __future__ import annotations

from typing import Final

from penstock.contract import subjects
from penstock.contract.retrieval import subjects as retrieval_subjects

__all__ = [
    "ACCOUNT",
    "ADAPTED",
    "ATTEMPT",
    "BEST_SCORE",
    "CHAT",
    "COLLECTION",
    "COMPLEXITY",
    "CONSUMER_GROUP",
    "DEGRADED",
    "DELIVERY",
    "DESTINATION_TEMPLATE",
    "EMBEDDINGS",
    "EMBEDDING_DIMENSIONS",
    "ERROR_TYPE",
    "FINISH_REASONS",
    "GUARD_ACTION",
    "GUARD_DETECTORS",
    "GUARD_DIRECTION",
    "GUARD_FAILURES",
    "GUARD_FINDINGS",
    "GUARD_LEFT_OUT",
    "INPUT_TOKENS",
    "LANE",
    "MESSAGING_OPERATION_NAME",
    "MESSAGING_SYSTEM",
    "NATS",
    "OPERATION_NAME",
    "OUTCOME",
    "OUTPUT_TOKENS",
    "PASSAGES",
    "PROVIDER_NAME",
    "REQUEST_ID",
    "REQUEST_MODEL",
    "REQUEST_STREAM",
    "RESPONSE_ID",
    "RESPONSE_MODEL",
    "RETRIEVAL_KIND",
    "ROLE",
    "SPAN_CLIENT",
    "SPAN_GUARD",
    "SPAN_GUARD_CHECK",
    "SPAN_HOLD",
    "SPAN_INDEX",
    "SPAN_LEDGER",
    "SPAN_QUEUE",
    "SPAN_REPLY",
    "SPAN_RETRIEVAL",
    "SPAN_ROUTER",
    "SPAN_SEARCH",
    "SPAN_SETTLE",
    "SPAN_WORKER",
    "TIME_TO_FIRST_CHUNK",
    "WHY",
]

OPERATION_NAME: Final = "gen_ai.operation.name"
PROVIDER_NAME: Final = "gen_ai.provider.name"
REQUEST_MODEL: Final = "gen_ai.request.model"
REQUEST_STREAM: Final = "gen_ai.request.stream"
RESPONSE_MODEL: Final = "gen_ai.response.model"
RESPONSE_ID: Final = "gen_ai.response.id"
EMBEDDING_DIMENSIONS: Final = "gen_ai.embeddings.dimension.count"
FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
TIME_TO_FIRST_CHUNK: Final = "gen_ai.response.time_to_first_chunk"
INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
ERROR_TYPE: Final = "error.type"

MESSAGING_SYSTEM: Final = "messaging.system"
MESSAGING_OPERATION_NAME: Final = "messaging.operation.name"
DESTINATION_TEMPLATE: Final = "messaging.destination.template"
CONSUMER_GROUP: Final = "messaging.consumer.group.name"

REQUEST_ID: Final = "penstock.request.id"
ACCOUNT: Final = "penstock.account"
ROLE: Final = "penstock.role"
LANE: Final = "penstock.lane"
COMPLEXITY: Final = "penstock.complexity"
WHY: Final = "penstock.routing.why"
ATTEMPT: Final = "penstock.attempt"
DEGRADED: Final = "penstock.degraded"
ADAPTED: Final = "penstock.adapted"
DELIVERY: Final = "penstock.delivery"
OUTCOME: Final = "penstock.outcome"
GUARD_DIRECTION: Final = "penstock.guard.direction"
GUARD_DETECTORS: Final = "penstock.guard.detectors"
GUARD_ACTION: Final = "penstock.guard.action"
GUARD_FINDINGS: Final = "penstock.guard.findings"
GUARD_LEFT_OUT: Final = "penstock.guard.left_out"
GUARD_FAILURES: Final = "penstock.guard.failures"

RETRIEVAL_KIND: Final = "penstock.retrieval.kind"
COLLECTION: Final = "penstock.retrieval.collection"
PASSAGES: Final = "penstock.retrieval.passages"
BEST_SCORE: Final = "penstock.retrieval.best_score"

SPAN_CLIENT: Final = "penstock chat"
SPAN_ROUTER: Final = f"route {subjects.REQUEST}"
SPAN_LEDGER: Final = "ledger"
SPAN_QUEUE: Final = f"wait {subjects.WORK}"
SPAN_WORKER: Final = f"process {subjects.WORK}"
SPAN_GUARD: Final = "guard check"
SPAN_RETRIEVAL: Final = "retrieval"
SPAN_REPLY: Final = f"send {subjects.REPLY}"
SPAN_HOLD: Final = f"process {subjects.LEDGER_HOLD}"
SPAN_GUARD_CHECK: Final = f"process {subjects.GUARD_CHECK}"
SPAN_INDEX: Final = f"index {subjects.WORK}"
SPAN_SEARCH: Final = f"process {retrieval_subjects.SEARCH}"
SPAN_SETTLE: Final = f"process {subjects.USAGE}"

CHAT: Final = "chat"
EMBEDDINGS: Final = "embeddings"
NATS: Final = "nats"
