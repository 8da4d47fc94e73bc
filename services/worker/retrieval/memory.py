"""The memory of conversations: a turn that was answered is sent to the indexer as a document (H4)."""

from __future__ import annotations

import datetime as dt
import hashlib
from typing import Final

import msgspec
from msgspec import Raw, Struct

from penstock.bus.clock import Clock
from penstock.bus.log_limits import rate_limited_logger
from penstock.bus.publish import NOT_STORED, store
from penstock.contract import headers, subjects
from penstock.contract.codec import encode
from penstock.contract.request import LONGEST_S, IndexRequest
from penstock.contract.retrieval.documents import MEMORY, Document, IndexBody, turn_id
from penstock.contract.work import ChatWork
from penstock.runtime.service import Bus
from services.worker.retrieval.metrics import RetrievalMetrics

__all__ = ["ConversationMemory", "Turn", "index_request"]

_log: Final = rate_limited_logger(__name__)
_CLIENT: Final = "memory"
"""To which the replies of the indexer are addressed: no process reads them."""
_TEXT_CHARACTERS: Final = 8_000
"""Of a question, and of an answer, that are remembered."""
_STORE_S: Final = 5.0
_DIGEST_CHARACTERS: Final = 40


class Turn(Struct, frozen=True):
    """A question and its answer, without what the policy of the account redacts."""

    question: str
    answer: str
    attempt: int


class ConversationMemory(Struct, frozen=True):
    bus: Bus
    clock: Clock
    metrics: RetrievalMetrics

    async def remember(self, work: ChatWork, turn: Turn, traceparent: str | None) -> None:
        """Send the turn. Where it cannot be stored it is lost, which is logged: the answer does not depend on it."""
        request = index_request(work, turn, self.clock.unix_ms())
        extra = {headers.CLIENT: request.client}
        if traceparent is not None:
            extra[headers.TRACEPARENT] = traceparent
        try:
            await store(
                self.bus.js,
                subjects.request(work.account, "index", request.lane),
                encode(request),
                message_id=headers.request_message_id(work.account, request.client, request.id),
                headers=extra,
                timeout_s=_STORE_S,
            )
        except NOT_STORED as error:
            self.metrics.remembered.labels("failed").inc()
            _log.warning("a turn of a conversation is not remembered: %r", error)
        else:
            self.metrics.remembered.labels("sent").inc()


def index_request(work: ChatWork, turn: Turn, now_ms: int) -> IndexRequest:
    """The document is named by the request, and the message by its attempt: what is sent again after a crash is one
    document still, with the text of the answer that was sent last.
    """
    name = f"{work.account}.{work.client}.{work.id}.{turn.attempt}"
    said = dt.datetime.fromtimestamp(now_ms / 1000, dt.UTC).isoformat(timespec="seconds")
    question, answer = turn.question[:_TEXT_CHARACTERS], turn.answer[:_TEXT_CHARACTERS]
    # Labels by which the guard takes an ordinary turn for an attack less often than by `User:` and `Assistant:`.
    document = Document(
        id=turn_id(work.conversation, work.id),
        text=f"Question: {question}\n\nAnswer: {answer}",
        media_type="text/plain",
        metadata={"conversation": work.conversation, "time": said},
    )
    return IndexRequest(
        id=f"turn-{hashlib.sha256(name.encode()).hexdigest()[:_DIGEST_CHARACTERS]}",
        client=_CLIENT,
        collection=MEMORY,
        body=Raw(msgspec.json.encode(IndexBody(documents=(document,)))),
        lane="interactive",
        user=work.user,
        key=work.key,
        timeout_s=LONGEST_S["interactive"],
    )
