"""Collections and their documents, and what is remembered of a user."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from penstock.cli.render.counting import counted
from penstock.cli.render.table import cell, shortened, table
from penstock.cli.render.terminal_safe import visible
from penstock.cli.render.times import utc_text
from penstock.contract.retrieval.collections import CollectionStatus
from penstock.contract.retrieval.documents import conversation_of
from penstock.contract.retrieval.search import DocumentStatus
from penstock.runtime.text.sizes import size_text

__all__ = [
    "RememberedConversation",
    "collection_text",
    "collections_text",
    "documents_text",
    "memory_text",
    "remembered_conversations",
]

_ID_COLUMNS = 70


def collections_text(collections: Sequence[CollectionStatus], index_command: str) -> str:
    """A table; without a collection, the command that makes one."""
    if not collections:
        return f"No collections. Make one: {index_command}"
    titles = ("collection", "documents", "chunks", "tokens", "size", "model", "dimensions", "changed (UTC)")
    rows = [
        (
            cell(each.name),
            *_sizes(each),
            cell(each.model),
            f"{each.dimensions:,}",
            utc_text(each.updated_ms) if each.updated_ms else "-",
        )
        for each in collections
    ]
    return table(titles, rows, right=frozenset({1, 2, 3, 4, 6}))


def _sizes(status: CollectionStatus) -> tuple[str, str, str, str]:
    """Documents, chunks, tokens and bytes; `?` where the table cannot be read."""
    if not status.sizes_known:
        return ("?", "?", "?", "?")
    return (f"{status.documents:,}", f"{status.chunks:,}", f"{status.tokens:,}", size_text(status.bytes))


def collection_text(status: CollectionStatus) -> str:
    """The facts of one collection."""
    documents, chunks, tokens, size = _sizes(status)
    facts = [
        ("collection", status.name),
        ("documents", documents),
        ("chunks", f"{chunks}, about {tokens} tokens"),
        ("size", size),
        ("vectors", f"{status.model}, {status.dimensions:,} dimensions"),
    ]
    if status.building:
        facts.append(("building", f"vectors of {status.building}; the search uses the old ones until then"))
    if status.updated_ms:
        facts.append(("changed", f"{utc_text(status.updated_ms)} UTC"))
    return "\n".join(f"{name:<10}  {visible(fact)}" for name, fact in facts)


def documents_text(documents: Sequence[DocumentStatus], *, more: bool) -> str:
    """A table of documents; `more`: there are others."""
    rows = [
        (
            shortened(visible(each.id), _ID_COLUMNS),
            cell(each.title),
            f"{each.chunks:,}",
            utc_text(each.updated_ms) if each.updated_ms else "-",
        )
        for each in documents
    ]
    listed = table(("document", "title", "chunks", "changed (UTC)"), rows, right=frozenset({2}))
    return f"{listed}\nand others: --all lists them" if more else listed


class RememberedConversation(Struct, frozen=True):
    """A row of `penstock memory list`, and an element of its JSON."""

    conversation: str
    turns: int
    chunks: int
    first_ms: int
    updated_ms: int


def remembered_conversations(turns: Sequence[DocumentStatus]) -> list[RememberedConversation]:
    """The conversations of a user, by their ids."""
    by_conversation: dict[str, list[DocumentStatus]] = {}
    for turn in turns:
        by_conversation.setdefault(conversation_of(turn.id), []).append(turn)
    return [
        RememberedConversation(
            conversation,
            turns=len(each),
            chunks=sum(turn.chunks for turn in each),
            first_ms=min(turn.updated_ms for turn in each),
            updated_ms=max(turn.updated_ms for turn in each),
        )
        for conversation, each in sorted(by_conversation.items())
    ]


def memory_text(conversations: Sequence[RememberedConversation], user: str) -> str:
    """A table of the conversations of a user."""
    if not conversations:
        return f"Nothing is remembered of {visible(user)}."
    rows = [
        (
            shortened(visible(each.conversation), _ID_COLUMNS),
            f"{each.turns:,}",
            utc_text(each.first_ms),
            utc_text(each.updated_ms),
        )
        for each in conversations
    ]
    listed = table(("conversation", "turns", "first (UTC)", "last (UTC)"), rows, right=frozenset({1}))
    turns = sum(each.turns for each in conversations)
    return f"{listed}\n{counted(turns, 'turn')} in {counted(len(rows), 'conversation')}"
