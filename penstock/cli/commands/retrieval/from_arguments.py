"""The commands about documents, called with the arguments of the command line."""

from __future__ import annotations

import argparse
import sys

from penstock.cli.commands.retrieval.collections import drop_collection, list_collections, show_collection
from penstock.cli.commands.retrieval.index import IndexCommand, index
from penstock.cli.commands.retrieval.memory import forget, list_memory
from penstock.cli.commands.retrieval.search import SearchCommand, search
from penstock.cli.known_catalogue import check_has_retrieval
from penstock.cli.render.answer import failure_text
from penstock.cli.render.terminal_safe import visible
from penstock.cli.retrieval.files import FileSelection
from penstock.cli.retrieval.pairs import filters_of
from penstock.cli.retrieval.sending import IndexTarget
from penstock.errors import RequestFailed, UnknownCollection

__all__ = ["run"]


def run(arguments: argparse.Namespace) -> int:
    """Exit code 1 for a request that failed. Raises as the command."""
    try:
        return _run(arguments)
    except UnknownCollection as error:
        print(f"penstock: {visible(str(error))}", file=sys.stderr)
        return 1
    except RequestFailed as error:
        print(f"penstock: {failure_text(error, user=getattr(arguments, 'user', ''))}", file=sys.stderr)
        return 1


def _run(arguments: argparse.Namespace) -> int:
    if not getattr(arguments, "dry_run", False):
        check_has_retrieval(arguments.data, f"`penstock {arguments.command}` cannot be served")
    match arguments.command:
        case "index":
            return _index(arguments)
        case "search":
            return _search(arguments)
        case "collections":
            return _collections(arguments)
        case _:
            return _memory(arguments)


def _index(arguments: argparse.Namespace) -> int:
    selection = FileSelection(
        paths=tuple(arguments.paths), globs=tuple(arguments.glob), exclude=tuple(arguments.exclude)
    )
    target = IndexTarget(
        collection=arguments.collection,
        metadata=dict(arguments.metadata),
        model=arguments.model,
        user=arguments.user,
    )
    command = IndexCommand(
        selection=selection,
        target=target,
        watch=arguments.watch,
        dry_run=arguments.dry_run,
        delete_missing=arguments.delete_missing,
        as_json=arguments.json,
    )
    return index(command, arguments.data)


def _search(arguments: argparse.Namespace) -> int:
    command = SearchCommand(
        query=arguments.prompt,
        collection=arguments.collection,
        top_k=arguments.top_k,
        min_score=arguments.min_score,
        mode=arguments.mode,
        filters=filters_of(arguments.filter),
        user=arguments.user,
        timeout_s=arguments.timeout,
        as_json=arguments.json,
    )
    return search(command, arguments.data)


def _collections(arguments: argparse.Namespace) -> int:
    if arguments.action == "list":
        return list_collections(arguments.data, as_json=arguments.json)
    if arguments.action == "drop":
        return drop_collection(arguments.collection, arguments.data, without_question=arguments.yes)
    return show_collection(
        arguments.collection, arguments.data, with_all=arguments.all, as_json=arguments.json
    )


def _memory(arguments: argparse.Namespace) -> int:
    user, conversation, data = arguments.user, arguments.conversation, arguments.data
    if arguments.action == "list":
        return list_memory(user, conversation, data, as_json=arguments.json)
    return forget(user, conversation, data, without_question=arguments.yes)
