"""Names of tables, keys of documents and tags: digests, so that no text of a user names or selects anything."""

from __future__ import annotations

import re
from collections.abc import Sequence
from hashlib import sha256
from typing import Final, NewType

__all__ = ["TableName", "checked_digests", "document_key", "is_table_name", "table_name", "tag"]

TableName = NewType("TableName", str)
"""`p` and 32 hex digits: of one generation of one collection of one account."""

_TABLE: Final = re.compile(r"p[0-9a-f]{32}")
_DIGEST: Final = re.compile(r"[0-9a-f]{32}")


def table_name(account: str, collection: str, generation: int) -> TableName:
    return TableName(f"p{_digest(account, collection, str(generation))}")


def is_table_name(name: str) -> bool:
    """Whether a table found in a database or directory may be one of this store."""
    return _TABLE.fullmatch(name) is not None


def document_key(document: str) -> str:
    """32 hex digits that stand for the id of a document in queries."""
    return _digest(document)


def tag(key: str, value: str) -> str:
    """32 hex digits that stand for one pair of key and value of a document's metadata."""
    return _digest(key, value)


def checked_digests(digests: Sequence[str]) -> Sequence[str]:
    """The same digests. Raises ValueError for anything else: only hex digits may reach the text of a query."""
    for each in digests:
        if _DIGEST.fullmatch(each) is None:
            raise ValueError(f"{each!r} is not a digest of 32 hex digits")
    return digests


def _digest(*parts: str) -> str:
    """Parts are separated by their lengths: ("ab", "c") and ("a", "bc") differ."""
    encoded = [part.encode("utf-8", "surrogatepass") for part in parts]
    text = b"".join(b"%d:%b" % (len(part), part) for part in encoded)
    return sha256(text).hexdigest()[:32]
