"""The options of the commands that send a question or ask about one, and the rules between them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from penstock.cli.argument_types import (
    AddData,
    given,
    parse_role,
    parse_seconds,
    parse_text,
    parse_token_count,
)
from penstock.cli.retrieval.options import add_rag_options, check_rag
from penstock.contract.names import AUTO, COMPLEXITIES, LANES, RESCUES
from penstock.contract.request import LONGEST_S

__all__ = ["check_ask", "check_explain", "define_ask", "define_explain"]

_ASK: Final = """\
Send one request and print the answer. It streams to a terminal and is written whole to a file or pipe. Notes go to
stderr."""
_RESCUE: Final = """\
whether another attempt may follow a failed one: never, only before text was sent, or also after text was sent, which
is then discarded (default: %(default)s)"""
_EXPLAIN: Final = """\
Show how a request would be routed, and why; no provider is called. Takes the options of `ask` and shows the current
decision: admitted, with its wait, or rejected, with its reason and exit code 1. The account is PENSTOCK_ACCOUNT."""
_LONGEST: Final = ", ".join(f"{longest_s} in the {lane} lane" for lane, longest_s in LONGEST_S.items())


def define_ask(ask: argparse.ArgumentParser, add_data: AddData) -> None:
    ask.description = _ASK
    _add_question(ask, add_data)
    add_rag_options(ask)
    ask.add_argument("--no-stream", action="store_true", help="wait for the complete answer")
    ask.add_argument(
        "--detach",
        action="store_true",
        help="with --lane batch: submit a job, print its id and exit; `penstock jobs ID` shows its status",
    )
    ask.add_argument("--rescue", choices=RESCUES, default="restart", help=_RESCUE)
    ask.add_argument("--json", action="store_true", help="print every reply event as a line of JSON")


def define_explain(explain: argparse.ArgumentParser, add_data: AddData) -> None:
    explain.description = _EXPLAIN
    _add_question(explain, add_data)
    explain.add_argument("--embed", action="store_true", help="as a text to embed, not as a prompt")
    explain.add_argument("--json", action="store_true", help="print JSON")


def _add_question(parser: argparse.ArgumentParser, add_data: AddData) -> None:
    parser.add_argument("prompt", help="the prompt; - reads it from stdin")
    target = parser.add_mutually_exclusive_group()
    target.add_argument(
        "--role", type=parse_role, default=AUTO, help="a role of the catalogue (default: the router chooses)"
    )
    target.add_argument(
        "--model",
        type=parse_text,
        default="",
        help="a model of the catalogue, for an answer from it or its fallbacks",
    )
    parser.add_argument(
        "--complexity",
        choices=COMPLEXITIES,
        help="the end of the role's chain (default: it follows from the text)",
    )
    parser.add_argument(
        "--image", action="append", type=Path, default=[], metavar="FILE", help="an image; may be repeated"
    )
    parser.add_argument("--system", type=parse_text, metavar="TEXT", help="a system prompt")
    parser.add_argument(
        "--max-tokens",
        type=parse_token_count,
        metavar="N",
        help="the most tokens of the answer (default: the role's, or the most that the model generates)",
    )
    parser.add_argument(
        "--user", type=parse_text, default="", help="the end user, for fairness, budgets and job lists"
    )
    parser.add_argument(
        "--timeout",
        type=parse_seconds,
        metavar="S",
        help=f"the deadline in seconds (default: the role's; at most {_LONGEST})",
    )
    parser.add_argument("--lane", choices=LANES, default="interactive", help="default: %(default)s")
    add_data(parser)


def check_ask(arguments: argparse.Namespace) -> str | None:
    if (reason := check_rag(arguments)) is not None:
        return reason
    if not arguments.detach:
        return _check_question(arguments)
    if arguments.lane != "batch":
        return "--detach submits a job: add --lane batch"
    if arguments.no_stream:
        return "--no-stream has no effect with --detach, which prints no answer"
    return _check_question(arguments)


def check_explain(arguments: argparse.Namespace) -> str | None:
    of_chat = {
        "--image": arguments.image or None,
        "--system": arguments.system,
        "--max-tokens": arguments.max_tokens,
        "--complexity": arguments.complexity,
    }
    if arguments.embed and (names := given(of_chat)):
        return f"{names} has no effect with --embed"
    return _check_question(arguments)


def _check_question(arguments: argparse.Namespace) -> str | None:
    if arguments.model and arguments.complexity:
        return "--complexity has no effect with --model, which answers itself"
    longest_s = LONGEST_S[arguments.lane]
    if arguments.timeout is None or arguments.timeout <= longest_s:
        return None
    batch_s = LONGEST_S["batch"]
    fix = f"; --lane batch takes up to {batch_s} s" if arguments.timeout <= batch_s != longest_s else ""
    return f"--timeout is at most {longest_s} s in the {arguments.lane} lane{fix}"
