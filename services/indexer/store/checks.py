"""The rules for what is given to a store, checked before anything is written, and texts that every store can hold."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from penstock.contract.retrieval.embeddings import FLOAT_BYTES
from penstock.runtime.retrieval.vectors import has_direction
from services.indexer.store.interface import DocumentChunks, DocumentState, FilterTerm, Question
from services.indexer.store.tables import checked_digests

__all__ = [
    "check_change",
    "check_confirmation",
    "check_filter",
    "check_question",
    "single_words",
    "storable",
    "unconfirmed",
    "vector_of",
]

_UNSTORABLE: Final = re.compile("[\0\ud800-\udfff]")
_HEX: Final = re.compile("[0-9a-f]+")


def storable(text: str) -> str:
    """The text with U+FFFD for NUL, which PostgreSQL does not store, and for lone surrogates, which are not Unicode."""
    return _UNSTORABLE.sub("\ufffd", text)


def single_words(terms: Sequence[str]) -> list[str]:
    """The terms that are one word; a text with spaces is no stored word, and matches nothing."""
    words = map(storable, terms)
    return [word for word in words if word.split() == [word]]


def _storable_id(id_: str) -> str:
    """The same id. Raises ValueError for one that `storable` would change, because two ids could become one."""
    if not id_ or _UNSTORABLE.search(id_):
        raise ValueError(
            f"{id_!r:.100} is not the id of a document: it is empty, or has NUL or lone surrogates"
        )
    return id_


def check_change(
    dimensions: int, version: int, documents: Sequence[DocumentChunks], deleted: Sequence[str]
) -> None:
    """Raises ValueError for what `Store.replace` does not take."""
    if version < 1:
        raise ValueError(f"version {version} is below 1")
    ids = [_storable_id(id_) for id_ in (*(each.document.id for each in documents), *deleted)]
    if len(set(ids)) < len(ids):
        raise ValueError("a document is named twice in one change")
    for each in documents:
        _check_document(dimensions, each)


def check_confirmation(version: int, digests: Mapping[str, str]) -> None:
    """Raises ValueError for what `Store.confirm` does not take."""
    if version < 1:
        raise ValueError(f"version {version} is below 1")
    for digest in digests.values():
        if _HEX.fullmatch(digest) is None:
            raise ValueError(f"{digest!r:.100} is not a digest in hex digits")


def unconfirmed(
    states: Mapping[str, DocumentState], version: int, digests: Mapping[str, str]
) -> frozenset[str]:
    """The documents that, after `Store.confirm`, do not have their digest in this version or a later one."""
    return frozenset(
        id_
        for id_, digest in digests.items()
        if (state := states.get(id_)) is None or state.digest != digest or state.version < version
    )


def check_question(dimensions: int, question: Question) -> None:
    """Raises ValueError for a question that no search takes."""
    if question.vector is not None:
        _check_vector(dimensions, question.vector)
    check_filter(question.filter)
    if question.limit < 1:
        raise ValueError(f"limit {question.limit} is below 1")


def vector_of(question: Question) -> bytes:
    """For the search by vector. Raises ValueError where there is none."""
    if question.vector is None:
        raise ValueError("a search by vector needs the vector of its question")
    return question.vector


def check_filter(filter_: tuple[FilterTerm, ...]) -> None:
    """Raises ValueError for a tag that is no digest."""
    for term in filter_:
        checked_digests(term.tags)


def _check_document(dimensions: int, document: DocumentChunks) -> None:
    checked_digests(document.document.tags)
    ids = checked_digests([each.chunk.id for each in document.chunks])
    if len(set(ids)) < len(ids):
        raise ValueError(f"document {document.document.id!r:.100} has two chunks with the same id")
    if [each.chunk.ordinal for each in document.chunks] != list(range(len(ids))):
        raise ValueError(f"the chunks of document {document.document.id!r:.100} are not in their order")
    for each in document.chunks:
        _check_vector(dimensions, each.vector)


def _check_vector(dimensions: int, vector: bytes) -> None:
    if len(vector) != dimensions * FLOAT_BYTES:
        raise ValueError(
            f"a vector of {len(vector) // FLOAT_BYTES} dimensions does not fit {dimensions} dimensions"
        )
    if not has_direction(vector):
        raise ValueError("a vector is zero or not finite, or its length is unusable in 32 bits")
