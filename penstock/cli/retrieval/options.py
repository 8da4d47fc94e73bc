"""The options of the commands about documents, and the rules between them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final, get_args

from penstock.cli.argument_types import AddData, parse_seconds, parse_text
from penstock.cli.retrieval.pairs import filters_of, parse_pair
from penstock.contract.retrieval.documents import MEMORY
from penstock.contract.retrieval.search import Rag, SearchMode
from penstock.contract.subjects import is_token

__all__ = [
    "add_rag_options",
    "check_index",
    "check_rag",
    "check_search",
    "define_collections",
    "define_index",
    "define_memory",
    "define_search",
    "rag_of",
]

_INDEX: Final = """\
Send files to a collection. `penstock search` finds its passages, and `penstock ask --collection` puts them before the
model. The id of a document is its path below the folder that is given. Text, Markdown, HTML, PDF, source code and JSON
lines are read. Hidden files, symbolic links and binaries are left out. An unchanged document is recognised and costs
nothing; only changed chunks are embedded. Exit code 1 if a file was refused."""
_SEARCH: Final = "Print the passages of a collection that fit a question best. Exit code 1 if there is none."
_FORGET: Final = """\
Delete what is remembered of a user, or of one of the user's conversations: texts and vectors, and turns that wait to be
stored. It ends when they are gone."""
_DROP: Final = "Delete a collection with all its documents and vectors, after a question unless --yes."
_MODES: Final = get_args(SearchMode)
_TOP_K: Final = 5
_MOST: Final = 100


def define_index(index: argparse.ArgumentParser, add_data: AddData) -> None:
    index.description = _INDEX
    index.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="a folder or a file")
    _add_collection(index, required=True)
    index.add_argument("--watch", action="store_true", help="then send what changes, until Ctrl-C")
    for option, text in (
        ("--glob", "only files that match, as '*.md' or 'guides/*'"),
        ("--exclude", "not files or folders that match"),
    ):
        index.add_argument(
            option,
            action="append",
            type=parse_text,
            default=[],
            metavar="PATTERN",
            help=f"{text}; may be repeated",
        )
    index.add_argument(
        "--metadata",
        action="append",
        type=parse_pair,
        default=[],
        metavar="KEY=VALUE",
        help="stored with each document, for --filter of a search; may be repeated",
    )
    index.add_argument(
        "--delete-missing",
        action="store_true",
        help="delete the documents of the collection that are none of these files",
    )
    index.add_argument(
        "--model",
        type=parse_text,
        default="",
        help="the embedding model of the collection from now on: all of it is embedded again",
    )
    index.add_argument("--user", type=parse_text, default="", help="the end user, for fairness and budgets")
    index.add_argument("--dry-run", action="store_true", help="only list what would be sent")
    index.add_argument("--json", action="store_true", help="print the summary as JSON")
    add_data(index)


def define_search(search: argparse.ArgumentParser, add_data: AddData) -> None:
    search.description = _SEARCH
    search.add_argument(
        "prompt", type=parse_text, metavar="QUESTION", help="the question; - reads it from stdin"
    )
    _add_collection(search, required=True)
    _add_found(search, _TOP_K)
    search.add_argument(
        "--min-score", type=_parse_share, default=0.0, metavar="S", help="leave out passages below it, 0 to 1"
    )
    search.add_argument("--mode", choices=_MODES, default="hybrid", help="default: %(default)s")
    search.add_argument("--user", type=parse_text, default="", help="the end user, for budgets")
    search.add_argument(
        "--timeout",
        type=parse_seconds,
        default=30.0,
        metavar="S",
        help="seconds to wait (default: %(default)g)",
    )
    search.add_argument("--json", action="store_true", help="print JSON")
    add_data(search)


def define_collections(collections: argparse.ArgumentParser, add_data: AddData) -> None:
    actions = collections.add_subparsers(dest="action", required=True, metavar="list|show|drop")
    listing = actions.add_parser("list", help="list collections, with their size and embedding model")
    show = actions.add_parser("show", help="show one collection and its documents")
    drop = actions.add_parser("drop", help="delete a collection", description=_DROP)
    for action in (show, drop):
        action.add_argument("collection", type=_parse_collection, metavar="NAME")
    show.add_argument("--all", action="store_true", help="list all documents")
    drop.add_argument("--yes", action="store_true", help="delete without confirmation")
    for action in (listing, show):
        action.add_argument("--json", action="store_true", help="print JSON")
    for action in (listing, show, drop):
        add_data(action)


def define_memory(memory: argparse.ArgumentParser, add_data: AddData) -> None:
    actions = memory.add_subparsers(dest="action", required=True, metavar="list|forget")
    listing = actions.add_parser("list", help="list the conversations of a user that are remembered")
    forget = actions.add_parser("forget", help="delete them", description=_FORGET)
    for action in (listing, forget):
        action.add_argument("--user", type=parse_text, required=True, help="the end user")
        action.add_argument("--conversation", type=parse_text, default="", metavar="ID", help="only this one")
    listing.add_argument("--json", action="store_true", help="print JSON")
    forget.add_argument("--yes", action="store_true", help="delete without confirmation")
    for action in (listing, forget):
        add_data(action)


def add_rag_options(ask: argparse.ArgumentParser) -> None:
    """Those of `penstock ask`."""
    _add_collection(ask, required=False)
    _add_found(ask, None)
    ask.add_argument("--mode", choices=_MODES, help="of the search (default: hybrid)")
    ask.add_argument(
        "--conversation",
        type=parse_text,
        default="",
        metavar="ID",
        help="with --user: remember the question and the answer, and recall what fits from earlier ones",
    )


def rag_of(arguments: argparse.Namespace) -> Rag | None:
    """What the options of `penstock ask` say of passages; None: there are none, as always for `explain`."""
    collection = getattr(arguments, "collection", None)
    if collection is None:
        return None
    top_k = _TOP_K if arguments.top_k is None else arguments.top_k
    mode: SearchMode = arguments.mode or "hybrid"
    return Rag(collection=collection, mode=mode, top_k=top_k, filters=filters_of(arguments.filter))


def check_index(arguments: argparse.Namespace) -> str | None:
    """Why the options contradict each other; None: they do not."""
    if arguments.watch and arguments.dry_run:
        return "--watch has no effect with --dry-run"
    if arguments.watch and arguments.json:
        return "--json prints one summary, and --watch never ends: omit one of them"
    return None


def check_search(arguments: argparse.Namespace) -> str | None:
    """The same for `penstock search`."""
    if arguments.mode == "text" and arguments.min_score:
        return "--min-score has no effect with --mode text, which compares words and knows no similarity"
    return None


def check_rag(arguments: argparse.Namespace) -> str | None:
    """The same for `penstock ask`."""
    if arguments.conversation and not arguments.user:
        return "--conversation needs --user: whose conversation it is"
    if arguments.collection is None and (arguments.top_k is not None or arguments.filter or arguments.mode):
        return "--top-k, --filter and --mode need --collection"
    return None


def _parse_collection(text: str) -> str:
    """A name that can stand in a key of a bucket, and is not reserved."""
    if not is_token(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a collection: use 1 to 64 of A-Z a-z 0-9 _ -")
    if text.startswith(MEMORY):
        raise argparse.ArgumentTypeError(
            f"names that begin with {MEMORY} are reserved: `penstock memory` shows them"
        )
    return text


def _add_collection(parser: argparse.ArgumentParser, *, required: bool) -> None:
    text = "its name" if required else "put the passages of this collection that fit before the model"
    parser.add_argument("--collection", type=_parse_collection, required=required, metavar="NAME", help=text)


def _add_found(parser: argparse.ArgumentParser, top_k: int | None) -> None:
    parser.add_argument(
        "--top-k",
        type=_parse_top_k,
        default=top_k,
        metavar="N",
        help=f"passages at most (default: {_TOP_K})",
    )
    parser.add_argument(
        "--filter",
        action="append",
        type=parse_pair,
        default=[],
        metavar="KEY=VALUE",
        help="only documents with this metadata; a key that is repeated may have either value",
    )


def _parse_top_k(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= _MOST):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to {_MOST}")
    return int(text)


def _parse_share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1")
    return share
