"""`penstock collections list`, `show` and `drop`."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from penstock.cli.confirmation import confirmed
from penstock.cli.connection import with_client
from penstock.cli.errors import CommandError
from penstock.cli.program_name import command_name
from penstock.cli.render.counting import counted
from penstock.cli.render.retrieval.collections import collection_text, collections_text, documents_text
from penstock.cli.render.terminal_safe import as_ascii_json, visible
from penstock.cli.retrieval.listing import every_document
from penstock.client.client import Client
from penstock.contract.retrieval.collections import CollectionStatus
from penstock.contract.retrieval.search import DocumentStatus

__all__ = ["drop_collection", "list_collections", "show_collection"]

_SHOWN_DOCUMENTS: Final = 20
"""Documents of a collection that are printed without `--all`."""


def list_collections(data: Path, *, as_json: bool) -> int:
    """Raises BrokerUnreachable, ConfigurationRefused, CommandError and PenstockError."""
    found = with_client(data, lambda client: client.collections())
    example = f"{command_name()} index docs --collection docs"
    print(as_ascii_json(found) if as_json else collections_text(found, example))
    return 0


def show_collection(name: str, data: Path, *, with_all: bool, as_json: bool) -> int:
    """Raises as `list_collections`; CommandError for a collection that does not exist."""

    async def read(client: Client) -> tuple[CollectionStatus, list[DocumentStatus], bool]:
        status = await _status(client, name)
        if with_all or as_json:
            return status, await every_document(client, name), False
        page = await client.documents(name, limit=_SHOWN_DOCUMENTS)
        return status, list(page.documents), page.more

    status, documents, more = with_client(data, read)
    if as_json:
        print(as_ascii_json({"collection": status, "documents": documents}))
    else:
        print(collection_text(status))
        if documents:
            print(f"\n{documents_text(documents, more=more)}")
    return 0


def drop_collection(name: str, data: Path, *, without_question: bool) -> int:
    """Delete a collection, after a question unless `without_question`. Raises as `show_collection`."""
    status = with_client(data, lambda client: _status(client, name))
    what = _sized(name, status.documents, status.chunks, known=status.sizes_known)
    if not without_question and not confirmed(f"Delete the collection {what} permanently?"):
        print("Nothing was deleted.")
        return 1
    report = with_client(data, lambda client: client.index_and_wait(name, drop=True))
    print(f"Dropped {_sized(name, report.deleted, report.chunks_deleted, known=not report.deleted_unknown)}.")
    if report.refused:
        print(f"{counted(len(report.refused), 'document')} of later requests stay.")
    return 1 if report.refused else 0


def _sized(name: str, documents: int, chunks: int, *, known: bool) -> str:
    if not known:
        return f"{visible(name)}: an unknown number of documents, because its table cannot be read"
    return f"{visible(name)}: {counted(documents, 'document')} in {counted(chunks, 'chunk')}"


async def _status(client: Client, name: str) -> CollectionStatus:
    found = await client.collections(name)
    if not found:
        raise CommandError(f"there is no collection {name}: `{command_name()} collections list` shows all")
    return found[0]
