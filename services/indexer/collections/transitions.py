"""What may follow a record of a collection. Each function is pure, and None means that nothing changes."""

from __future__ import annotations

from collections.abc import Collection

from msgspec import Struct
from msgspec.structs import replace

from penstock.contract.retrieval.collections import CollectionRecord, Generation

__all__ = [
    "VectorKind",
    "abandoned",
    "begun",
    "created",
    "dropped",
    "generations",
    "has_vectors_of",
    "refusing_older",
    "removed",
    "switched",
]


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


def dropped(record: CollectionRecord | None, version: int, now_ms: int) -> CollectionRecord | None:
    """Without tables. A drop that was made before, or is older than one that was, changes nothing."""
    if record is None or record.dropped_by >= version:
        return None
    return replace(
        record,
        current=None,
        building=None,
        dropping=_with_dropped(record, *generations(record)),
        dropped_by=version,
        changed_ms=now_ms,
    )


def refusing_older(record: CollectionRecord | None, version: int, now_ms: int) -> CollectionRecord | None:
    """With the tables, but without effect of earlier changes."""
    if record is None or record.dropped_by >= version:
        return None
    return replace(record, dropped_by=version, changed_ms=now_ms)


def removed(record: CollectionRecord | None, numbers: Collection[int]) -> CollectionRecord | None:
    """After the tables of these generations were removed from the store."""
    if record is None or not set(record.dropping).intersection(numbers):
        return None
    return replace(record, dropping=tuple(each for each in record.dropping if each not in numbers))


def begun(record: CollectionRecord | None, kind: VectorKind, now_ms: int) -> CollectionRecord | None:
    """With a table beside the current one, for vectors of another kind; it replaces one of a third kind."""
    if record is None or record.current is None:
        return None
    if has_vectors_of(record.current, kind):
        return None if record.building is None else _without_building(record, now_ms)
    if has_vectors_of(record.building, kind):
        return None
    number = record.last_number + 1
    replaced = () if record.building is None else (record.building,)
    return replace(
        record,
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


def abandoned(record: CollectionRecord | None, number: int, now_ms: int) -> CollectionRecord | None:
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
