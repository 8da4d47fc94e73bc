"""The checks of an index request: what a sender must change before anything is indexed."""

from __future__ import annotations

import re
from collections import Counter
from typing import Final

import msgspec

from penstock.contract import codec
from penstock.contract.retrieval.documents import DOCUMENT_ID_CHARACTERS, MAX_DOCUMENTS, Document, IndexBody

__all__ = ["InvalidBody", "read_body"]

_UNSTORABLE: Final = re.compile("[\0\ud800-\udfff]")


class InvalidBody(ValueError):
    """The message names the field."""


def read_body(data: bytes | bytearray | memoryview) -> IndexBody:
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
