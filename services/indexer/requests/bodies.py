"""Bodies of index requests, in the message or stored apart, and what their senders must correct."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import msgspec

from penstock.bus.clock import loop_now_s
from penstock.bus.large_bodies import BodyDiffers, BodyLost, delete_body, read_body
from penstock.contract import codec
from penstock.contract.retrieval.documents import DOCUMENT_ID_CHARACTERS, MAX_DOCUMENTS, Document, IndexBody
from penstock.contract.streams import MAX_BODY_BYTES
from penstock.contract.work import ChatWork
from penstock.runtime.byte_budget import ByteBudget
from penstock.runtime.service import Bus
from services.indexer.requests.outcome import GaveUp

__all__ = ["InvalidBody", "RequestBodies", "read_index_body"]

_LIMIT_BYTES: Final = 2 * MAX_BODY_BYTES
"""Of the bodies of all requests that are worked on."""
_IN_THREAD: Final = 256 * 1024
_RETRY_S: Final = 1.0
_UNSTORABLE: Final = re.compile("[\0\ud800-\udfff]")


class InvalidBody(ValueError):
    """The message names the field."""


class RequestBodies:
    def __init__(self, bus: Bus, limit: int = _LIMIT_BYTES) -> None:
        self._bus = bus
        self._budget = ByteBudget(limit)

    @asynccontextmanager
    async def read(self, work: ChatWork, until_s: float) -> AsyncIterator[IndexBody]:
        """Raises GaveUp."""
        size = len(memoryview(work.body)) if work.body_ref is None else work.body_ref.size
        async with self._budget.hold(size):
            data = await self._data(work, until_s)
            try:
                if size < _IN_THREAD:
                    body = read_index_body(data)
                else:
                    body = await asyncio.to_thread(read_index_body, data)
            except InvalidBody as error:
                raise GaveUp("invalid_request", str(error)) from error
            del data
            yield body

    async def delete(self, work: ChatWork) -> None:
        if work.body_ref is not None:
            await delete_body(self._bus.nc, work.reply_to)

    async def _data(self, work: ChatWork, until_s: float) -> bytearray | memoryview:
        if work.body_ref is None:
            return memoryview(work.body)
        try:
            return await read_body(
                self._bus.nc, work.reply_to, work.body_ref, timeout_s=until_s - loop_now_s()
            )
        except BodyLost as error:
            message = f"the body of the request is not stored any more ({error}): send the request again"
            raise GaveUp("internal", message, _RETRY_S) from error
        except BodyDiffers as error:
            raise GaveUp("invalid_request", str(error)) from error


def read_index_body(data: bytes | bytearray | memoryview) -> IndexBody:
    """Raises InvalidBody."""
    try:
        body = codec.INDEX_BODY.decode(data)
    except RecursionError as error:
        raise InvalidBody("the body is nested too deeply") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidBody(str(error)) from error
    count = len(body.documents) + len(body.delete)
    if count > MAX_DOCUMENTS:
        raise InvalidBody(f"a request has at most {MAX_DOCUMENTS:,} documents and deletions, not {count:,}")
    for index, document in enumerate(body.documents):
        _check_document(f"documents[{index}]", document)
    for index, id_ in enumerate(body.delete):
        _check_id(f"delete[{index}]", id_)
    ids = Counter([*(document.id for document in body.documents), *body.delete])
    twice = next((id_ for id_, times in ids.items() if times > 1), None)
    if twice is not None:
        raise InvalidBody(f"the document {twice!r:.80} is named twice")
    return body


def _check_document(path: str, document: Document) -> None:
    _check_id(f"{path}.id", document.id)
    if (document.text is None) == (document.data is None):
        raise InvalidBody(f"{path} needs either text or data")


def _check_id(path: str, id_: str) -> None:
    if not 0 < len(id_) <= DOCUMENT_ID_CHARACTERS or _UNSTORABLE.search(id_):
        raise InvalidBody(
            f"{path} is not the id of a document: use 1 to {DOCUMENT_ID_CHARACTERS:,} characters, without NUL and lone "
            "surrogates"
        )
