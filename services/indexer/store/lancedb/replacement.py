"""One atomic change of documents in LanceDB: a merge that fails if another version was stored in between.

LanceDB orders concurrent merges by itself, and executes a merge again on the newer state if both changed the same rows.
Which rows a change writes depends on the versions that were read before. So the merge has a condition that divides by
zero where the head of a document has another version than the change was prepared for. The whole merge fails then,
also in such a repetition, and is prepared again. Two merges that both insert a head conflict by the primary key.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import msgspec

from services.indexer.store.errors import StoreUnavailable
from services.indexer.store.interface import Change, DocumentChunks
from services.indexer.store.lancedb.failures import is_conflict
from services.indexer.store.lancedb.filters import any_of
from services.indexer.store.lancedb.rows import StoredRow, change_rows
from services.indexer.store.lancedb.schema import DELETED, HEAD
from services.indexer.store.tables import document_key

if TYPE_CHECKING:
    from lancedb import AsyncTable

__all__ = ["KEYS_AT_ONCE", "confirm_documents", "replace_documents"]

KEYS_AT_ONCE: Final = 500
"""Keys in one condition."""
_GUARD: Final = (
    f"1 / CAST(source.ordinal NOT IN ({HEAD}, {DELETED}) OR target.version = source.replaces AS BIGINT) = 1"
)
_TIMEOUT: Final = timedelta(seconds=60)
_ATTEMPTS: Final = 40
_LONGEST_PAUSE_S: Final = 0.5
_BUSY: Final = "other processes change the same documents all the time"


async def replace_documents(table: AsyncTable, change: Change) -> frozenset[str]:
    """The ids of the documents that have a higher version, and were left as they are.

    Raises StoreUnavailable while other processes keep changing the same documents, and the errors of LanceDB: OSError,
    RuntimeError and ValueError.
    """
    schema = await table.schema()
    for attempt in range(_ATTEMPTS):
        stored = await _stored_rows(table, [document_key(id_) for id_ in _ids(change)])
        outdated = frozenset(id_ for id_ in _ids(change) if _version(stored, id_) > change.version)
        current = _without(change, outdated)
        if not current.documents and not current.deleted:
            return outdated
        try:
            await (
                table.merge_insert("id")
                .when_matched_update_all(where=_GUARD)
                .when_not_matched_insert_all()
                # "null" keeps the missing vectors of heads; those of chunks were checked.
                .execute(change_rows(current, stored, schema), on_bad_vectors="null", timeout=_TIMEOUT)
            )
        except (OSError, RuntimeError, ValueError) as error:
            if not is_conflict(error):
                raise
        else:
            return outdated
        await _pause(attempt)
        await table.checkout_latest()
    raise StoreUnavailable(_BUSY)


async def confirm_documents(table: AsyncTable, version: int, digests: Mapping[str, str]) -> int:
    """Raise the version of the heads that have these digests, by their keys, in one change; returns their number.

    LanceDB looks for the rows again if another change of them was stored in between.
    """
    known = ", ".join(f"'{key}{digest}'" for key, digest in digests.items())
    heads = ", ".join(f"'{key}{HEAD}'" for key in digests)
    condition = f"id IN ({heads}) AND version < {version} AND concat(key, digest) IN ({known})"
    for attempt in range(_ATTEMPTS):
        try:
            updated = await table.update({"version": version}, where=condition)
        except (OSError, RuntimeError, ValueError) as error:
            if not is_conflict(error):
                raise
        else:
            return int(updated.rows_updated)
        await _pause(attempt)
        await table.checkout_latest()
    raise StoreUnavailable(_BUSY)


async def _pause(attempt: int) -> None:
    await asyncio.sleep(random.uniform(0, min(_LONGEST_PAUSE_S, 0.01 * 2**attempt)))


async def _stored_rows(table: AsyncTable, keys: Sequence[str]) -> dict[str, list[StoredRow]]:
    found: dict[str, list[StoredRow]] = {}
    for begin in range(0, len(keys), KEYS_AT_ONCE):
        condition = any_of("key", list(keys[begin : begin + KEYS_AT_ONCE]))
        columns = ["key", "id", "ordinal", "version"]
        for row in await table.query().where(condition).select(columns).to_list():
            found.setdefault(row["key"], []).append(StoredRow(row["id"], row["ordinal"], row["version"]))
    return found


def _version(stored: dict[str, list[StoredRow]], id_: str) -> int:
    rows = stored.get(document_key(id_), ())
    return max((row.version for row in rows if row.ordinal in {HEAD, DELETED}), default=0)


def _ids(change: Change) -> list[str]:
    return [*(each.document.id for each in change.documents), *change.deleted]


def _without(change: Change, outdated: frozenset[str]) -> Change:
    if not outdated:
        return change

    def is_current(each: DocumentChunks) -> bool:
        return each.document.id not in outdated

    return msgspec.structs.replace(
        change,
        documents=list(filter(is_current, change.documents)),
        deleted=[id_ for id_ in change.deleted if id_ not in outdated],
    )
