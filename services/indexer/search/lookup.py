"""Which table a question is about: the records of collections as this process follows them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from difflib import get_close_matches
from typing import Final, TypeVar

from penstock.bus.bucket import Record
from penstock.contract import codec
from penstock.contract.retrieval.collections import CollectionRecord
from penstock.runtime.request_refused import RequestRefused
from services.indexer.collections.names import InvalidCollection, is_memory, memory_of, named_collection
from services.indexer.collections.tables import Records, Target, table_of
from services.indexer.store.errors import StoreError, UnknownTable

__all__ = ["CollectionLookup", "FollowedRecords", "SearchRefused"]

_TRIES: Final = 3
_NAMED: Final = 5
"""Collections that an error names."""
_NAME_CHARACTERS: Final = 64
_Result = TypeVar("_Result")


class SearchRefused(RequestRefused):
    """The question cannot be answered."""


class FollowedRecords:
    """What the bucket held when it was last read."""

    def __init__(self) -> None:
        self._known: dict[str, CollectionRecord] = {}

    def replace(self, records: Sequence[Record]) -> None:
        known = {}
        for each in records:
            try:
                known[each.key] = codec.COLLECTION_RECORD.decode(each.data)
            except codec.INVALID:
                continue  # the owner of the bucket logs it
        self._known = known

    def get(self, account: str, name: str) -> CollectionRecord | None:
        return self._known.get(f"{account}.{name}")

    def names(self, account: str) -> list[str]:
        """The collections of the account, without the memory of users."""
        return sorted(
            each.name
            for each in self._known.values()
            if each.account == account and each.current is not None and not is_memory(each.name)
        )

    def __len__(self) -> int:
        return sum(record.current is not None for record in self._known.values())


class CollectionLookup:
    """A followed record may be a moment old: where its table is gone, or there is none, the bucket is read."""

    def __init__(self, followed: FollowedRecords, records: Records) -> None:
        self._followed = followed
        self._records = records

    async def ask(
        self, account: str, name: str, question: Callable[[Target], Awaitable[_Result]]
    ) -> _Result | None:
        """The answer of the table that search reads; None: there is no such collection.

        A table may be replaced and removed while it is read. The question is put to the next one then, whatever
        error the removal has caused.
        """
        record = self._followed.get(account, name)
        for left in reversed(range(_TRIES)):
            if record is None or record.current is None:
                record = await self._records.read(account, name)
            if record is None or record.current is None:
                return None
            asked = record.current
            try:
                return await question(Target(table_of(record, asked), asked))
            except UnknownTable:  # switched or dropped a moment ago, or not created yet
                record = None
            except StoreError:
                record = await self._records.read(account, name)
                if not left or (record is not None and record.current == asked):
                    raise
        return None

    def unknown(self, account: str, name: str) -> SearchRefused:
        """The error for a collection that does not exist, with names of those that do."""
        known = self._followed.names(account)
        near = get_close_matches(name[:_NAME_CHARACTERS], known, n=_NAMED, cutoff=0.0)
        message = f"there is no collection {name!r:.80}; "
        if len(known) <= _NAMED:
            message += (
                f"the collections are {', '.join(known)}" if known else "the account has no collections"
            )
        else:
            message += f"of {len(known):,} collections, those of the nearest names are {', '.join(near)}"
        return SearchRefused("unknown_collection", message)

    @staticmethod
    def name_of(account: str, collection: str, user: str) -> str:
        """The collection of a question: without a name, the memory of the user. Raises SearchRefused."""
        if not collection:
            if not user:
                raise SearchRefused("invalid_request", "name a collection, or the user whose memory is meant")
            return memory_of(account, user)
        try:
            return named_collection(collection)
        except InvalidCollection as error:
            raise SearchRefused("invalid_request", str(error)) from error
