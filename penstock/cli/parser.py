"""The command line of `penstock`, as argparse knows it."""

from __future__ import annotations

import argparse
import re
from importlib.metadata import version
from pathlib import Path
from typing import Final, TypeAlias, get_args

from penstock.cli.commands.chat_roles import CHATTING
from penstock.cli.local.python_child import SERVICES
from penstock.contract.jobs import JobState
from penstock.contract.names import AUTO, LANES, RESCUES
from penstock.contract.subjects import is_token
from penstock.runtime.runtime_file import DEFAULT_DATA

__all__ = ["make_parser"]

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001 - it has no public name

_UP = """\
Start the whole system on this machine and keep it running until Ctrl-C: an embedded nats-server (unless NATS_URL
is set), the simulated provider (where the catalogue has one and PENSTOCK_SIMULATOR_URL is not set; with GROQ_API_KEY or
OPENAI_API_KEY another catalogue is the default), the router, and a worker. A service that dies is started again."""
_PER_ROLE = """\
a worker process for each role instead of one for all. Roles then share neither memory nor a crash, and a role can
use a processor of its own. They keep the limits of a model together, unless PENSTOCK_QUOTA=local: then each process
counts for itself, and roles that share a limited model may together ask for more than its limit"""
_RUN = """\
Become one service; what follows its name is passed on to it, for example: penstock run worker --role coding,chat.
Settings come from the environment (NATS_URL, PENSTOCK_CATALOGUE, ...; SIMULATOR_* for the simulator). A worker beside
`penstock up` finds that system's NATS and simulator by itself, elsewhere with --data DIR."""
_RESCUE = """\
whether a failed attempt may be followed by another: never, only before text of the answer was sent, or also afterwards,
when the text so far is forgotten (default: %(default)s)"""
_EXPLAIN = """\
With the options of `ask` it says what that would meet at this moment: let in, with what wait, or refused, and why;
then the exit code is 1. It asks for the account of PENSTOCK_ACCOUNT."""
_DAY_S = 86_400
_HIGHEST_PORT = 65_535
_SPAN: Final = re.compile(r"([0-9]{1,6})([smhd])")
_UNITS_S: Final = {"s": 1, "m": 60, "h": 3_600, "d": _DAY_S}
_PAST_SEQUENCES: Final = 2**63
_DATA = "where the system keeps its store, logs and traces (default: %(default)s)"


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="penstock", description="An event-driven LLM gateway on NATS.")
    parser.add_argument("--version", action="version", version=f"penstock {version('penstock')}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_up(commands)
    _add_demo(commands)
    _add_run(commands)
    _add_ask(commands)
    _add_explain(commands)
    _add_status(commands)
    _add_trace(commands)
    _add_jobs(commands)
    _add_dead(commands)
    _add_config(commands)
    return parser


def _add_up(commands: Commands) -> None:
    up = commands.add_parser("up", help="start the whole system and keep it running", description=_UP)
    up.add_argument("--per-role", action="store_true", help=_PER_ROLE)
    up.add_argument("--no-simulator", action="store_true", help="start no simulated provider")
    up.add_argument(
        "--nats-port",
        type=_port,
        metavar="PORT",
        help="of the embedded nats-server; 0: any free one (default: 4222, or any free one where that is taken)",
    )
    _add_data(up)


def _add_demo(commands: Commands) -> None:
    text = "start everything, ask every kind of question, show what happened, stop"
    demo = commands.add_parser(
        "demo", help=text, description=f"{text.capitalize()}. Takes well under a minute."
    )
    demo.add_argument(
        "--data",
        type=Path,
        default=DEFAULT_DATA / "demo",
        metavar="DIR",
        help="emptied of the last demonstration's store, logs and traces first (default: %(default)s)",
    )


def _add_run(commands: Commands) -> None:
    run = commands.add_parser("run", help="one service in this process", description=_RUN)
    run.add_argument("service", choices=SERVICES)
    run.add_argument("arguments", nargs=argparse.REMAINDER, metavar="...", help="passed on to the service")


def _add_ask(commands: Commands) -> None:
    text = "ask one question; the answer streams to a terminal, a file gets it whole; how it came about is on stderr"
    ask = commands.add_parser("ask", help=text, description=f"{text.capitalize()}.")
    _add_question(ask)
    ask.add_argument("--no-stream", action="store_true", help="wait for the whole answer")
    ask.add_argument(
        "--detach",
        action="store_true",
        help="with --lane batch: print the id and leave; `penstock jobs ID` tells what becomes of it",
    )
    ask.add_argument("--rescue", choices=RESCUES, default="restart", help=_RESCUE)
    ask.add_argument("--json", action="store_true", help="every reply event as a line of JSON")


def _add_explain(commands: Commands) -> None:
    text = "say how a question would be routed, and why; nothing is spent"
    explain = commands.add_parser("explain", help=text, description=f"{text.capitalize()}. {_EXPLAIN}")
    _add_question(explain)
    explain.add_argument("--json", action="store_true", help="as JSON")


def _add_status(commands: Commands) -> None:
    text = "who is alive, what waits in the queues, which limits are used"
    status = commands.add_parser("status", help=text, description=f"{text.capitalize()}.")
    status.add_argument("--json", action="store_true", help="as JSON")
    _add_data(status)


def _add_trace(commands: Commands) -> None:
    text = "draw the trace of a request as a tree"
    trace = commands.add_parser("trace", help=text, description=f"{text.capitalize()}.")
    trace.add_argument(
        "request_id",
        nargs="?",
        default="last",
        help="as `ask` says it, or its beginning; default: last, the newest",
    )
    _add_data(trace)


def _add_jobs(commands: Commands) -> None:
    text = "what has become of requests of the batch lane"
    jobs = commands.add_parser("jobs", help=text, description=f"{text.capitalize()}.")
    jobs.add_argument(
        "request_id", nargs="?", type=_request_id, metavar="ID", help="one of them; default: a list of all"
    )
    jobs.add_argument("--state", choices=get_args(JobState), help="only these of the list")
    jobs.add_argument("--user", type=_text, help="only those of this user")
    does = jobs.add_mutually_exclusive_group()
    does.add_argument("--result", action="store_true", help="print the answer of ID")
    does.add_argument("--cancel", action="store_true", help="take ID back, whether it waits or runs")
    jobs.add_argument("--json", action="store_true", help="as JSON")
    _add_data(jobs)


def _add_dead(commands: Commands) -> None:
    dead = commands.add_parser("dead", help="look at dead letters, send them again, drop them")
    actions = dead.add_subparsers(dest="action", required=True, metavar="list|show|redrive|drop")
    listing = actions.add_parser("list", help="what was buried, and why")
    _add_letter_filters(listing)
    listing.add_argument("--json", action="store_true", help="as JSON, bodies included")
    show = actions.add_parser("show", help="one letter: its reason, history, headers and body")
    show.add_argument("seqs", nargs=1, type=_sequence, metavar="SEQ", help="its number in the list")
    show.add_argument("--json", action="store_true", help="as JSON")
    redrive = actions.add_parser(
        "redrive", help="put requests back, each as a job under a new id, and take their letters away"
    )
    drop = actions.add_parser("drop", help="delete letters for good")
    for action in (redrive, drop):
        action.add_argument("seqs", nargs="*", type=_sequence, metavar="SEQ", help="numbers in the list")
        action.add_argument("--all", action="store_true", help="all of --role")
        _add_letter_filters(action)
    redrive.add_argument("--json", action="store_true", help="a line of JSON for each")
    drop.add_argument("--yes", action="store_true", help="do not ask back")
    for action in (listing, show, redrive, drop):
        _add_data(action)


def _add_letter_filters(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--role", help="buried from this role's mailbox, or by `router`")
    parser.add_argument("--since", type=_span_s, metavar="TIME", help="buried within it: 30m, 12h, 7d")
    parser.add_argument("--code", help="with this reason, for example undeliverable")


def _add_config(commands: Commands) -> None:
    config = commands.add_parser("config", help="check or print the configuration")
    actions = config.add_subparsers(dest="action", required=True, metavar="check|print")
    for name, text in (
        ("check", "every mistake in the settings and the catalogue"),
        ("print", "the configuration in force, secrets masked"),
    ):
        action = actions.add_parser(name, help=text, description=f"{text.capitalize()}.")
        action.add_argument("path", nargs="?", type=Path, help="a catalogue (default: the one in force)")


def _add_question(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("prompt", help="the question; - reads it from stdin")
    parser.add_argument("--role", choices=(AUTO, *CHATTING), default=AUTO, help="default: the router decides")
    parser.add_argument(
        "--image", action="append", type=Path, default=[], metavar="FILE", help="may be repeated"
    )
    parser.add_argument("--system", type=_text, metavar="TEXT", help="a system prompt")
    parser.add_argument("--user", type=_text, default="", help="who asks: fairness counts by it")
    parser.add_argument(
        "--timeout",
        type=_seconds,
        metavar="S",
        help="give up after S seconds (default: the role's; at most 3600, in the batch lane 86400)",
    )
    parser.add_argument("--lane", choices=LANES, default="interactive", help="default: %(default)s")
    _add_data(parser)


def _add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA, metavar="DIR", help=_DATA)


def _text(text: str) -> str:
    """An argument that is not UTF-8 arrives as lone surrogates."""
    try:
        text.encode()
    except UnicodeError as error:
        raise argparse.ArgumentTypeError("it is not UTF-8 text") from error
    return text


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= _HIGHEST_PORT):
        raise argparse.ArgumentTypeError(f"{text!r} is no port: a number from 0 to {_HIGHEST_PORT}")
    return int(text)


def _request_id(text: str) -> str:
    if not is_token(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no id of a request")
    return text


def _sequence(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) < _PAST_SEQUENCES):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of a dead letter")
    return int(text)


def _span_s(text: str) -> float:
    match = _SPAN.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no span of time: write 90s, 30m, 12h or 7d")
    return int(match[1]) * _UNITS_S[match[2]]


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= _DAY_S:  # nan is refused as well
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds between 0 and {_DAY_S:,}")
    return seconds
