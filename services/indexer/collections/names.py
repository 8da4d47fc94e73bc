"""Names of collections: those of applications, and those of the memory of users, which only the indexer derives."""

from __future__ import annotations

import hashlib
from typing import Final

from penstock.contract.retrieval.documents import MEMORY
from penstock.contract.subjects import is_token

__all__ = ["InvalidCollection", "collection_of_request", "is_memory", "memory_of", "named_collection"]

_DIGITS: Final = 32


class InvalidCollection(ValueError):
    """The message says what is wrong with the name."""


def memory_of(account: str, user: str) -> str:
    """The collection with the memory of a user. Other accounts and users have another one."""
    parts = [part.encode("utf-8", "surrogatepass") for part in (account, user)]
    digest = hashlib.sha256(b"".join(b"%d:%b" % (len(part), part) for part in parts))
    return f"{MEMORY}{digest.hexdigest()[:_DIGITS]}"


def is_memory(collection: str) -> bool:
    return collection.startswith(MEMORY)


def named_collection(name: str) -> str:
    """The name as an application may use it. Raises InvalidCollection."""
    if not is_token(name):
        raise InvalidCollection(
            f"{name!r:.80} is not the name of a collection: use 1 to 64 of the characters A-Z a-z 0-9 _ -"
        )
    if is_memory(name):
        raise InvalidCollection(f"names that begin with {MEMORY} are reserved for the memory of users")
    return name


def collection_of_request(account: str, collection: str, user: str) -> str:
    """The collection that an index request changes; exactly `MEMORY` stands for the memory of its user.

    Raises InvalidCollection.
    """
    if collection != MEMORY:
        return named_collection(collection)
    if not user:
        raise InvalidCollection("a request for the memory of a user needs a user")
    return memory_of(account, user)
