"""Collections of documents: `Client.index`, `Client.search`, and what is stored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeVar

import msgspec
import nats.errors
from nats.aio.msg import Msg

from penstock.bus.clock import loop_now_s
from penstock.bus.ids import new_id
from penstock.bus.log_limits import rate_limited_logger
from penstock.bus.retry import RetryPolicy, retry
from penstock.client.arguments import check_choice, check_text, check_timeout, check_token, check_wait
from penstock.client.session import Session
from penstock.client.stream import Stream
from penstock.contract import codec
from penstock.contract.field_problem import field_problem
from penstock.contract.names import LANES, Lane
from penstock.contract.reply import Completed, Failed, IndexProgress
from penstock.contract.request import IndexRequest
from penstock.contract.retrieval import subjects
from penstock.contract.retrieval.collections import CollectionsQuery, CollectionsReport, CollectionStatus
from penstock.contract.retrieval.documents import MEMORY, Document, IndexBody, IndexReport
from penstock.contract.retrieval.search import (
    DocumentsQuery,
    DocumentsReport,
    Filters,
    SearchAnswer,
    SearchFailed,
    SearchMode,
    SearchRequest,
)
from penstock.errors import (
    ClientClosed,
    NoReply,
    ReplyIncomplete,
    RequestFailed,
    RetrievalFailed,
    RetrievalUnavailable,
    UnknownCollection,
)

__all__ = ["RetrievalMethods", "index_report"]

_log: Final = rate_limited_logger(__name__)
_TIMEOUT_S: Final = 10.0
_LONGEST_PAUSE_S: Final = 0.5
"""Between two tries while no indexer is subscribed."""
_LEAST_S: Final = 0.01
_Answer = TypeVar("_Answer", SearchAnswer, CollectionsReport, DocumentsReport)
_Question = SearchRequest | CollectionsQuery | DocumentsQuery


class RetrievalMethods(Session):
    """The part of a client that indexes and searches documents."""

    async def index(  # noqa: PLR0913 - keywords, each with a default
        self,
        collection: str,
        *,
        documents: Iterable[Document] = (),
        delete: Iterable[str] = (),
        drop: bool = False,
        model: str = "",
        dimensions: int | None = None,
        user: str = "",
        timeout_s: float | None = None,
    ) -> str:
        """Submit a job that changes a collection, and return its id once JetStream has stored it.

        Each of `documents` replaces the one with its id; `delete` has ids of documents to delete, at most 1,000 with
        the documents. `drop` deletes the whole collection first. The first documents of a collection create it. `model`
        and `dimensions` are those of its vectors, for all its documents from now on; empty and None: as they are.
        `timeout_s` is at most a day; None: `retrieval.index_timeout_s` of the catalogue.

        Any process uses the id: `job` for the status, `resume` for the progress, `cancel` to cancel it, `result` for
        the IndexReport, whose fields are in `response`. Raises NotAccepted, RequestTooLarge, ClientClosed, ValueError.
        """
        body = _change(documents, delete, drop=drop, model=model, dimensions=dimensions)
        return await self._submit(self._index_request(collection, body, user, "batch", timeout_s))

    def index_stream(  # noqa: PLR0913 - keywords, each with a default
        self,
        collection: str,
        *,
        documents: Iterable[Document] = (),
        delete: Iterable[str] = (),
        drop: bool = False,
        model: str = "",
        dimensions: int | None = None,
        user: str = "",
        lane: Lane = "batch",
        timeout_s: float | None = None,
        cancel_on_exit: bool = True,
    ) -> Stream:
        """Change a collection as `index` does, and read how far it has come, as `stream` reads a reply.

        The events are `accepted`, any number of IndexProgress, and last `completed`, of which `index_report` reads the
        counts, or `failed`. In the lane `interactive`, with a deadline of an hour at most, there is no job.
        """
        body = _change(documents, delete, drop=drop, model=model, dimensions=dimensions)
        request = self._index_request(collection, body, user, lane, timeout_s)
        return self._stream(request, timeout_s, cancel_on_exit=cancel_on_exit)

    async def index_and_wait(  # noqa: PLR0913 - keywords, each with a default
        self,
        collection: str,
        *,
        documents: Iterable[Document] = (),
        delete: Iterable[str] = (),
        drop: bool = False,
        model: str = "",
        dimensions: int | None = None,
        user: str = "",
        lane: Lane = "batch",
        timeout_s: float | None = None,
        on_progress: Callable[[IndexProgress], object] | None = None,
    ) -> IndexReport:
        """Change a collection as `index` does, and wait until that is done; `on_progress` is called meanwhile.

        A document that cannot be indexed is in `refused` of the report. Raises RequestFailed, NotAccepted,
        RequestTooLarge, NoReply, ReplyIncomplete or ClientClosed, and ValueError for an argument that is not valid.
        """
        stream = self.index_stream(
            collection,
            documents=documents,
            delete=delete,
            drop=drop,
            model=model,
            dimensions=dimensions,
            user=user,
            lane=lane,
            timeout_s=timeout_s,
        )
        return await _report_of(stream, on_progress)

    async def forget(
        self, user: str, conversation: str = "", *, timeout_s: float | None = None
    ) -> IndexReport:
        """Delete what is remembered of a user, or of one conversation of that user, and wait until it is gone.

        Turns that waited to be stored when this request was sent are not stored any more. A turn of a later request
        that was stored first stays, and is in `refused` of the report. Raises as `index_and_wait`.
        """
        if not user:
            raise ValueError("forget needs the user whose memory it deletes")
        check_text("conversation", conversation)
        body = IndexBody(drop=not conversation, drop_conversation=conversation)
        request = self._index_request(MEMORY, body, user, "batch", timeout_s)
        return await _report_of(self._stream(request, timeout_s, cancel_on_exit=True), None)

    def _index_request(
        self, collection: str, body: IndexBody, user: str, lane: Lane, timeout_s: float | None
    ) -> IndexRequest:
        self._check_open()
        check_token("the name of a collection", collection)
        check_choice("lane", lane, LANES)
        check_timeout(timeout_s, lane)
        check_text("user", user)
        try:
            encoded = codec.encode(body)
        except (TypeError, UnicodeEncodeError) as error:
            raise ValueError(f"the documents cannot be written as JSON: {error}") from error
        return IndexRequest(
            id=new_id(),
            client=self.name,
            collection=collection,
            body=msgspec.Raw(encoded),
            lane=lane,
            user=user,
            timeout_s=timeout_s,
        )

    async def search(  # noqa: PLR0913 - keywords, each with a default
        self,
        collection: str,
        query: str,
        *,
        mode: SearchMode = "hybrid",
        top_k: int = 5,
        min_score: float = 0.0,
        filters: Filters | None = None,
        exclude: Filters | None = None,
        user: str = "",
        timeout_s: float = _TIMEOUT_S,
    ) -> SearchAnswer:
        """The passages of a collection that answer `query`, the best first.

        `mode` is `vector` (by meaning), `text` (by words) or `hybrid` (both). `top_k` is at most 100; `min_score` (0 to
        1) is the least similarity. `filters` are values of the metadata that a document must have, each a value or a
        list of them, and `exclude` those that it must not have. `user` identifies your end user: budgets count the
        embedding of the query.

        While no indexer is subscribed, as while one is restarted, the call waits for one until `timeout_s` ends. Where
        the embedding model does not answer, words alone decide: then `model` of the answer is empty, scores are 0, and
        `min_score` is not applied.

        Raises UnknownCollection, RetrievalUnavailable, their base RetrievalFailed for any other refusal, ClientClosed,
        and ValueError for an argument that is not valid.
        """
        check_token("the name of a collection", collection)
        check_text("query", query)
        check_text("user", user)
        check_wait(timeout_s)
        settings: Mapping[str, Any] = {
            "collection": collection,
            "query": query,
            "mode": mode,
            "top_k": top_k,
            "min_score": min_score,
            "filters": filters or {},
            "exclude": exclude or {},
            "user": user,
            "timeout_s": timeout_s,
        }
        question = _converted(settings, SearchRequest)
        subject = subjects.search(self._subscription.account)
        return await self._ask(subject, question, codec.SEARCH_ANSWER, timeout_s)

    async def collections(
        self, name: str = "", *, timeout_s: float = _TIMEOUT_S
    ) -> tuple[CollectionStatus, ...]:
        """The collections of the account, or the one of this name, with their size and embedding model.

        Raises as `search`.
        """
        if name:
            check_token("the name of a collection", name)
        check_wait(timeout_s)
        subject = subjects.collections(self._subscription.account)
        report = await self._ask(subject, CollectionsQuery(name=name), codec.COLLECTIONS_ANSWER, timeout_s)
        return report.collections

    async def documents(
        self,
        collection: str = "",
        *,
        prefix: str = "",
        after: str = "",
        limit: int = 1_000,
        user: str = "",
        timeout_s: float = _TIMEOUT_S,
    ) -> DocumentsReport:
        """The documents of a collection in the order of their ids: those whose id begins with `prefix`, after the id
        `after`, at most 1,000. `more` of the report says whether there are further ones.

        `user`, in place of a collection, lists what is remembered of the conversations of that user. Raises as
        `search`.
        """
        if bool(collection) == bool(user):
            raise ValueError("name either a collection or a user")
        if collection:
            check_token("the name of a collection", collection)
        check_wait(timeout_s)
        settings: Mapping[str, Any] = {
            "collection": collection,
            "prefix": prefix,
            "after": after,
            "limit": limit,
            "user": user,
        }
        question = _converted(settings, DocumentsQuery)
        subject = subjects.documents(self._subscription.account)
        return await self._ask(subject, question, codec.DOCUMENTS_ANSWER, timeout_s)

    async def _ask(
        self,
        subject: str,
        question: _Question,
        decoder: msgspec.json.Decoder[_Answer | SearchFailed],
        timeout_s: float,
    ) -> _Answer:
        self._check_open()
        try:
            msg = await self._sent(subject, question, loop_now_s() + timeout_s)
            answer = decoder.decode(msg.data)
        except nats.errors.NoRespondersError as error:
            raise RetrievalUnavailable(
                f"no indexer answered within {timeout_s:g} s: if one is being restarted, try again in some seconds; "
                "else start one (`penstock up` does where the catalogue has a section retrieval)"
            ) from error
        except nats.errors.TimeoutError as error:
            raise RetrievalUnavailable(f"the indexer did not answer within {timeout_s:g} s") from error
        except nats.errors.ConnectionClosedError as error:
            raise ClientClosed from error
        except nats.errors.MaxPayloadError as error:
            raise ValueError("the question is larger than a message: send a shorter one") from error
        except nats.errors.Error as error:
            raise RetrievalUnavailable(f"the question could not be sent: {error}") from error
        except codec.INVALID as error:
            raise RetrievalUnavailable(f"the answer of the indexer cannot be read: {error}") from error
        if isinstance(answer, SearchFailed):
            raise _failure(answer)
        return answer

    async def _sent(self, subject: str, question: _Question, until_s: float) -> Msg:
        """The answer. The question is sent again while no indexer is subscribed, as while one is restarted."""

        async def send() -> Msg:
            left_s = max(_LEAST_S, until_s - loop_now_s())
            asked = question
            if isinstance(asked, SearchRequest):
                asked = msgspec.structs.replace(asked, timeout_s=round(left_s, 3))
            return await self._nc.request(subject, codec.encode(asked), timeout=left_s)

        policy = RetryPolicy(until_s - loop_now_s() - _LONGEST_PAUSE_S, longest_wait_s=_LONGEST_PAUSE_S)
        return await retry(send, on=(nats.errors.NoRespondersError,), report=_report, policy=policy)


async def _report_of(stream: Stream, on_progress: Callable[[IndexProgress], object] | None) -> IndexReport:
    async with stream as events:
        async for event in events:
            match event:
                case IndexProgress():
                    if on_progress is not None:
                        on_progress(event)
                case Completed():
                    return index_report(event)
                case Failed():
                    raise RequestFailed(event.id, event.error)
    raise NoReply(f"request {stream.id} has no terminal event: send it again")


def _report(_: Exception) -> None:
    _log.info("no indexer is alive; the question is sent again")


def _change(
    documents: object, delete: object, *, drop: bool, model: str, dimensions: int | None
) -> IndexBody:
    """Raises ValueError for a change that cannot be sent."""
    if not isinstance(documents, Iterable) or not isinstance(delete, Iterable) or isinstance(delete, str):
        raise ValueError("documents and delete are lists: of Document(id=..., text=...), and of ids")  # noqa: TRY004 - one error for every wrong argument
    found, ids = tuple(documents), tuple(delete)
    wrong = next((each for each in found if not isinstance(each, Document)), None)
    if wrong is not None:
        raise ValueError(f"documents holds {wrong!r}: use Document(id=..., text=...)")
    if not (found or ids or drop or model or dimensions):
        raise ValueError("there is nothing to do: give documents, ids to delete, a model, or drop=True")
    return IndexBody(documents=found, delete=ids, drop=drop, model=model, dimensions=dimensions)


def index_report(event: Completed) -> IndexReport:
    """What was done, from the last event of an index request. Raises ReplyIncomplete for that of another request."""
    try:
        return codec.INDEX_REPORT.decode(event.response)
    except codec.INVALID as error:
        raise ReplyIncomplete(f"the answer of request {event.id} is not a report of the indexer") from error


def _failure(answer: SearchFailed) -> RetrievalFailed:
    match answer.code:
        case "unknown_collection":
            return UnknownCollection(answer.message)
        case "retrieval_unavailable":
            return RetrievalUnavailable(answer.message, answer.retry_after_s)
    return RetrievalFailed(answer.message, answer.retry_after_s, answer.code)


_Settings = TypeVar("_Settings", SearchRequest, DocumentsQuery)


def _converted(settings: Mapping[str, Any], question: type[_Settings]) -> _Settings:
    try:
        return msgspec.convert(settings, question)
    except msgspec.ValidationError as error:
        raise ValueError(field_problem(error).problem) from error
