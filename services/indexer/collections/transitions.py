"""What may follow a record of a collection. Each function is pure, and None means that nothing changes."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from penstock.contract.retrieval.collections import (
    CollectionRecord,
    DropCounts,
    ForgottenConversation,
    Generation,
)
from penstock.contract.retrieval.documents import conversation_of

__all__ = [
    "VectorKind",
    "begun",
    "created",
    "drop_counted",
    "dropped",
    "forgotten",
    "generations",
    "has_vectors_of",
    "model_change_abandoned",
    "recreated",
    "refusing_older",
    "removed",
    "switched",
    "void_before",
]

_MOST_FORGOTTEN: Final = 100
"""Conversations in a record: searches read it too."""
_DIGITS: Final = 32


class VectorKind(Struct, frozen=True):
    """What makes the vectors of a table: the model, and their number of dimensions."""

    model: str
    """The key of the model in the catalogue."""
    space: str
    dimensions: int


def generations(record: CollectionRecord | None) -> tuple[Generation, ...]:
    """The tables that a change of documents is written to: first the one that search reads."""
    if record is None or record.current is None:
        return ()
    return (record.current,) if record.building is None else (record.current, record.building)


def has_vectors_of(generation: Generation | None, kind: VectorKind) -> bool:
    """Whether the vectors can be compared: another model of the same space makes no difference."""
    return generation is not None and (generation.space, generation.dimensions) == (
        kind.space,
        kind.dimensions,
    )


def created(
    record: CollectionRecord | None, account: str, name: str, kind: VectorKind, now_ms: int
) -> CollectionRecord | None:
    """A collection with an empty table, unless it exists."""
    known = record or CollectionRecord(account=account, name=name, current=None, created_ms=now_ms)
    if known.current is not None:
        return None
    number = known.last_number + 1
    return replace(
        known,
        current=_generation(number, kind),
        last_number=number,
        created_ms=now_ms,
        changed_ms=now_ms,
    )


def recreated(record: CollectionRecord | None, number: int, now_ms: int) -> CollectionRecord | None:
    """With a new table in place of `number`, which is missing, and without the one that would have replaced it.

    Under another number, because a drop that has removed the old table is about to say so in the record.
    """
    if record is None or record.current is None or record.current.number != number:
        return None
    new = record.last_number + 1
    return replace(
        _without_building(record, now_ms), current=replace(record.current, number=new), last_number=new
    )


def dropped(record: CollectionRecord | None, number: int, now_ms: int) -> CollectionRecord | None:
    """Without tables, if search still reads the table `number`."""
    if record is None or record.current is None or record.current.number != number:
        return None
    return replace(
        record,
        current=None,
        building=None,
        dropping=_with_dropped(record, *generations(record)),
        changed_ms=now_ms,
    )


def refusing_older(record: CollectionRecord | None, version: int, now_ms: int) -> CollectionRecord | None:
    """With the tables, but without effect of earlier changes."""
    if record is None or record.dropped_by >= version:
        return None
    return replace(
        record,
        dropped_by=version,
        drop_counts=None,
        forgotten=_forgotten_after(record, version),
        changed_ms=now_ms,
    )


def drop_counted(
    record: CollectionRecord | None, version: int, counts: DropCounts
) -> CollectionRecord | None:
    """With what the drop `version` has found; a repetition of it, which may find less, changes nothing."""
    if record is None or record.dropped_by != version or record.drop_counts is not None:
        return None
    return replace(record, drop_counts=counts)


def forgotten(
    record: CollectionRecord, conversation: str, version: int, now_ms: int
) -> CollectionRecord | None:
    """Without effect of earlier changes on documents of the conversation.

    Beyond the limit, `forgotten_before` stands for the conversations that were forgotten first: turns of other
    conversations that have waited since before are not stored either.
    """
    digest = _digest(conversation)
    if void_before(record, f"{conversation}/") >= version:
        return None
    kept = [each for each in record.forgotten if each.digest != digest]
    kept.append(ForgottenConversation(digest=digest, version=version))
    kept.sort(key=lambda each: each.version)
    before = [each.version for each in kept[:-_MOST_FORGOTTEN]]
    return replace(
        record,
        forgotten=tuple(kept[-_MOST_FORGOTTEN:]),
        forgotten_before=max((record.forgotten_before, *before)),
        changed_ms=now_ms,
    )


def void_before(record: CollectionRecord | None, document: str) -> int:
    """The version of the last request that dropped the document with its collection or conversation: changes before it
    have no effect on the document. 0: there was none.
    """
    if record is None:
        return 0
    versions = [record.dropped_by, record.forgotten_before]
    if record.forgotten:
        digest = _digest(conversation_of(document))
        versions += [each.version for each in record.forgotten if each.digest == digest]
    return max(versions)


def removed(record: CollectionRecord | None, numbers: Collection[int]) -> CollectionRecord | None:
    """After the tables of these generations were removed from the store."""
    if record is None or not set(record.dropping).intersection(numbers):
        return None
    return replace(record, dropping=tuple(each for each in record.dropping if each not in numbers))


def begun(
    record: CollectionRecord | None, kind: VectorKind, version: int, now_ms: int
) -> CollectionRecord | None:
    """With a table beside the current one, for vectors of another kind; it replaces one of a third kind.

    A change that is older than another one that named a model changes nothing.
    """
    if record is None or record.current is None or record.model_named_by > version:
        return None
    named = replace(record, model_named_by=version)
    if has_vectors_of(record.current, kind) and record.building is not None:
        return _without_building(named, now_ms)
    if has_vectors_of(record.current, kind) or has_vectors_of(record.building, kind):
        return None if named == record else named
    number = record.last_number + 1
    replaced = () if record.building is None else (record.building,)
    return replace(
        named,
        building=_generation(number, kind),
        dropping=_with_dropped(record, *replaced),
        last_number=number,
        changed_ms=now_ms,
    )


def switched(record: CollectionRecord | None, number: int, now_ms: int) -> CollectionRecord | None:
    """With the table `number`, which is complete, as the one that search reads."""
    if record is None or record.building is None or record.building.number != number:
        return None
    replaced = () if record.current is None else (record.current,)
    return replace(
        record,
        current=record.building,
        building=None,
        dropping=_with_dropped(record, *replaced),
        changed_ms=now_ms,
    )


def model_change_abandoned(
    record: CollectionRecord | None, number: int, now_ms: int
) -> CollectionRecord | None:
    """Without the table `number`, which will not be completed."""
    if record is None or record.building is None or record.building.number != number:
        return None
    return _without_building(record, now_ms)


def _without_building(record: CollectionRecord, now_ms: int) -> CollectionRecord:
    replaced = () if record.building is None else (record.building,)
    return replace(record, building=None, dropping=_with_dropped(record, *replaced), changed_ms=now_ms)


def _with_dropped(record: CollectionRecord, *replaced: Generation) -> tuple[int, ...]:
    return (*(each.number for each in replaced), *record.dropping)


def _generation(number: int, kind: VectorKind) -> Generation:
    return Generation(number=number, model=kind.model, space=kind.space, dimensions=kind.dimensions)


def _forgotten_after(record: CollectionRecord, version: int) -> tuple[ForgottenConversation, ...]:
    return tuple(each for each in record.forgotten if each.version > version)


def _digest(conversation: str) -> str:
    return hashlib.sha256(conversation.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGITS]
