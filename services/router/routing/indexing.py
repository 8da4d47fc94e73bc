"""An index request: the check of its body, and where it goes (H1)."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

import msgspec
from msgspec import Raw, Struct

from penstock.contract.names import INDEX
from penstock.contract.request import IndexRequest
from penstock.contract.retrieval.documents import DOCUMENT_ID_CHARACTERS, MAX_DOCUMENTS, MEMORY, Metadata
from penstock.runtime.config.catalogue import Catalogue
from penstock.runtime.config.retrieval import retrieval_missing
from penstock.runtime.json_values import MAX_BODY_VALUES
from services.router.routing.body_errors import BODY_ERRORS, BodyProblems, InvalidBody, check_values
from services.router.routing.outcome import NOT_SERVED_RETRY_S, InvalidRequest
from services.router.routing.plan import Plan, check_collection, check_dimensions

__all__ = ["IndexFeatures", "extract_index_features", "plan_index"]

_METADATA: Final = re.compile(r"documents\[(\d+)\]\.metadata\[\.\.\.\]")
_KEY_CHARACTERS: Final = 80
"""Of a key of metadata that an error repeats."""
_NO_RAW: Final = Raw(b"")
_NULL: Final = b"null"
_BASE64: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
_PROBLEMS: Final = BodyProblems(
    {
        "body": "an object",
        "documents": "a list of documents",
        "documents[]": "an object",
        "documents[].id": "text",
        "documents[].text": "text",
        "documents[].data": "the bytes of a file as base64",
        "documents[].media_type": "text, as text/markdown",
        "documents[].name": "text",
        "documents[].title": "text",
        "documents[].source": "text",
        "documents[].metadata": "an object",
        "documents[].metadata[...]": "text, a number, true or false, or a list of texts",
        "delete": "a list of ids of documents",
        "delete[]": "text",
        "drop": "true or false",
        "drop_conversation": "the id of a conversation",
        "model": "text",
        "dimensions": "a positive integer",
    }
)


class IndexFeatures(Struct, frozen=True, kw_only=True):
    """What an index request is about."""

    documents: int
    deletions: int
    drops: bool
    drops_conversation: bool
    model: str = ""
    dimensions: int | None = None


class _Document(Struct):
    """As `Document`, with the content undecoded: it may be long."""

    id: str
    text: Raw = _NO_RAW
    data: Raw = _NO_RAW
    media_type: str = ""
    name: str = ""
    title: str = ""
    source: str = ""
    metadata: Metadata = {}


class _Body(Struct, forbid_unknown_fields=True):
    documents: list[_Document] = []
    delete: list[str] = []
    drop: bool = False
    drop_conversation: str = ""
    model: str = ""
    dimensions: int | None = None


_DECODER: Final = msgspec.json.Decoder(_Body)


def extract_index_features(body: Raw | bytes | bytearray) -> IndexFeatures:
    """Raises InvalidBody for a body that the indexer could not read."""
    check_values(body, MAX_BODY_VALUES)
    try:
        decoded = _DECODER.decode(body)
    except BODY_ERRORS as error:
        raise _with_key(_PROBLEMS.of(error), body) from error
    count = len(decoded.documents) + len(decoded.delete)
    names_model = bool(decoded.model) or decoded.dimensions is not None
    if not count and not (decoded.drop or decoded.drop_conversation or names_model):
        raise InvalidBody(
            "body", "the body has neither documents nor ids to delete nor a model, and drop is false"
        )
    if count > MAX_DOCUMENTS:
        raise InvalidBody(
            "documents", f"the body has {count:,} documents and deletions; the limit is {MAX_DOCUMENTS:,}"
        )
    if decoded.dimensions is not None and decoded.dimensions <= 0:
        raise _PROBLEMS.wrong("dimensions", f"{decoded.dimensions:,}")
    _check_ids(decoded)
    for index, document in enumerate(decoded.documents):
        _check_content(f"documents[{index}]", document)
    return IndexFeatures(
        documents=len(decoded.documents),
        deletions=len(decoded.delete),
        drops=decoded.drop,
        drops_conversation=bool(decoded.drop_conversation),
        model=decoded.model,
        dimensions=decoded.dimensions,
    )


def _with_key(error: InvalidBody, body: Raw | bytes | bytearray) -> InvalidBody:
    """The error with the key of the metadata that has the wrong value: msgspec names none."""
    path = _METADATA.match(error.field)
    if path is None:
        return error
    try:
        metadata = msgspec.json.decode(body)["documents"][int(path[1])]["metadata"]
    except BODY_ERRORS:  # not JSON behind the place of the error
        return error
    key = next(key for key, value in metadata.items() if not _is_metadata({key: value}))
    wrong = _PROBLEMS.wrong(path[0])
    named = f"documents[{path[1]}].metadata.{key[:_KEY_CHARACTERS]}"
    return InvalidBody(named, wrong.problem.replace(path[0], named, 1))


def _is_metadata(values: object) -> bool:
    try:
        msgspec.convert(values, Metadata)
    except msgspec.ValidationError:
        return False
    return True


def _check_ids(body: _Body) -> None:
    fields = [(f"documents[{index}].id", each.id) for index, each in enumerate(body.documents)]
    fields += [(f"delete[{index}]", each) for index, each in enumerate(body.delete)]
    first: dict[str, str] = {}
    for field, document in fields:
        if not 0 < len(document) <= DOCUMENT_ID_CHARACTERS:
            raise InvalidBody(
                field,
                f"{field} must be 1 to {DOCUMENT_ID_CHARACTERS:,} characters, but has {len(document):,}",
            )
        if document in first:
            raise InvalidBody(
                field, f"{field} is the same as {first[document]}: name each document once in a request"
            )
        first[document] = field


def _check_content(field: str, document: _Document) -> None:
    has_text, has_data = _is_given(document.text), _is_given(document.data)
    if has_text == has_data:
        state = "both" if has_text else "neither"
        raise InvalidBody(field, f"{field} must have either text or data, and has {state}")
    name, content = ("text", document.text) if has_text else ("data", document.data)
    if memoryview(content)[0] != ord('"'):
        raise _PROBLEMS.wrong(f"{field}.{name}")
    if has_data and not _is_base64(bytes(content)[1:-1]):
        raise _PROBLEMS.wrong(f"{field}.data")


def _is_given(content: Raw) -> bool:
    return bytes(memoryview(content)[:4]) not in {b"", _NULL}


def _is_base64(text: bytes) -> bool:
    """By its characters and its length alone: decoding is left to the indexer."""
    text = text.replace(b"\\/", b"/") if b"\\" in text else text
    return len(text) % 4 == 0 and not text.translate(None, _BASE64)


def plan_index(
    request: IndexRequest, features: IndexFeatures, catalogue: Catalogue, served: Collection[str]
) -> Plan:
    """Raises InvalidRequest."""
    retrieval = catalogue.retrieval
    if retrieval is None:
        raise InvalidRequest(
            retrieval_missing("documents cannot be indexed", catalogue.name), "kind_not_served"
        )
    if request.collection != MEMORY:
        check_collection("collection", request.collection)
        if features.drops_conversation:
            raise InvalidRequest(
                f"drop_conversation needs the collection {MEMORY!r}: other ones have no conversations",
                param="drop_conversation",
            )
    elif not request.user:
        message = f"the collection {MEMORY!r} is the memory of user, and the request has no user"
        raise InvalidRequest(message, param="user")
    if features.model:
        _check_model(features.model, catalogue)
        check_dimensions("dimensions", features.dimensions, (features.model,), catalogue)
    is_turn = request.collection == MEMORY and features.documents > 0
    if INDEX not in served and not is_turn:  # a turn is sent once, and waits for the indexer
        raise InvalidRequest("no indexer is alive", "role_not_served", NOT_SERVED_RETRY_S)
    return Plan(role=INDEX, complexity="simple", why=_what(features), total_s=retrieval.index_timeout_s)


def _check_model(model: str, catalogue: Catalogue) -> None:
    known = [key for key, each in catalogue.models.items() if each.embedding is not None]
    if model not in known:
        raise InvalidRequest(
            f"model is {model[:80]!r}, which is not an embedding model of the catalogue {catalogue.name}; these are "
            f"{', '.join(known)}",
            param="model",
        )


def _what(features: IndexFeatures) -> str:
    parts = [
        "the whole collection to drop" if features.drops else "",
        "a conversation to forget" if features.drops_conversation else "",
        _count(features.documents, "to index") if features.documents else "",
        _count(features.deletions, "to delete") if features.deletions else "",
    ]
    return ", ".join(filter(None, parts))


def _count(number: int, purpose: str) -> str:
    return f"{number:,} document{'' if number == 1 else 's'} {purpose}"
