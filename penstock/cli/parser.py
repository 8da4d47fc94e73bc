"""The command line of `penstock`: commands, options, and rules between options."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Final, TypeAlias

from penstock.cli.argument_types import (
    given,
    parse_duration_s,
    parse_port,
    parse_request_id,
    parse_sequence,
    parse_text,
)
from penstock.cli.budget.options import check_budget, check_prices, define_budget, define_prices
from penstock.cli.guard.options import check_guard, define_guard
from penstock.cli.keys_options import define_keys
from penstock.cli.local.python_child import SERVICES
from penstock.cli.question_options import check_ask, check_explain, define_ask, define_explain
from penstock.cli.retrieval.options import (
    check_index,
    check_search,
    define_collections,
    define_index,
    define_memory,
    define_search,
)
from penstock.cli.spend_options import SPEND, define_ledger, define_spend
from penstock.contract.jobs import JOB_STATES
from penstock.runtime.runtime_file import DEFAULT_DATA, named_directory

__all__ = ["contradiction", "make_parser"]

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001 - the class has no public name

_UP = """\
Start the whole system on this machine and keep it running until Ctrl-C: an embedded nats-server (unless NATS_URL
is set), the simulated provider (where the catalogue has one and PENSTOCK_SIMULATOR_URL is not set; with GROQ_API_KEY or
OPENAI_API_KEY another catalogue is the default), the router, a worker, the budget ledger, the safety guard and the
indexer (where the catalogue has budgets, a guard, and the section retrieval), and the HTTP edge (on port 8080, or a
free one).
A service that dies is restarted."""
_PER_ROLE = """\
a worker process for each role instead of one for all. Roles then share neither memory nor a crash, and each can use its
own processor core. They share the limits of a model, unless PENSTOCK_QUOTA=local: then each process counts alone, and
roles that use the same limited model may together exceed its limit"""
_RUN = """\
Run one service in this process. Arguments after its name are its own, for example: penstock run worker --role
coding,chat; penstock run worker --help lists them.
Settings come from the environment (NATS_URL, PENSTOCK_CATALOGUE, ...; SIMULATOR_* for the simulator). Unless NATS_URL
is set, a service takes the NATS server and the catalogue of the `penstock up` that runs in the same directory, and says
so; a worker its simulator too, and with --data DIR those of another directory."""
_CANCEL = """\
The cancel is not acknowledged: an unknown id, or that of a request that has ended, is no error. `penstock jobs ID
--cancel` waits until a job has ended."""
_DATA = "the directory of the store, logs and traces (default: %(default)s)"
_DATA_OF_UP = "the data directory of `penstock up`, in which its NATS server is found (default: %(default)s)"


@cache
def make_parser() -> argparse.ArgumentParser:
    """The one parser of this process, which takes 20 ms to make. The result of its `parse_args` has the parser of the
    command as `parser`, whose `error` shows its usage.
    """
    parser = argparse.ArgumentParser(prog="penstock", description="An event-driven LLM gateway on NATS.")
    parser.add_argument("--version", action="version", version=f"penstock {version('penstock')}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_up(commands)
    _add_demo(commands)
    _add_run(commands)
    _add_questions(commands)
    _add_status(commands)
    _add_trace(commands)
    _add_cancel(commands)
    _add_jobs(commands)
    _add_dead(commands)
    _add_keys(commands)
    _add_budget(commands)
    _add_guard(commands)
    _add_documents(commands)
    _add_config(commands)
    _name_in_results(commands)
    return parser


def _name_in_results(commands: Commands) -> None:
    """Each parser as `parser` in its results; that of an action of a command goes before the command's."""
    for command in commands.choices.values():
        command.set_defaults(parser=command)
        for each in command._actions:  # noqa: SLF001 - no public attribute has the actions of a command
            if isinstance(each, argparse._SubParsersAction):  # noqa: SLF001 - the class has no public name
                _name_in_results(each)


def _add_up(commands: Commands) -> None:
    up = commands.add_parser("up", help="start the whole system and keep it running", description=_UP)
    up.add_argument("--per-role", action="store_true", help=_PER_ROLE)
    up.add_argument("--no-simulator", action="store_true", help="do not start the simulated provider")
    up.add_argument(
        "--nats-port",
        type=parse_port,
        metavar="PORT",
        help="the port of the embedded nats-server; 0: any free port (default: 4222, or a free one if taken)",
    )
    up.add_argument("--data", type=Path, default=DEFAULT_DATA, metavar="DIR", help=_DATA)


def _add_demo(commands: Commands) -> None:
    text = "start a whole system, show what Penstock promises, stop it"
    demo = commands.add_parser("demo", help=text, description=f"{_sentence(text)} Takes less than a minute.")
    demo.add_argument(
        "--data",
        type=Path,
        default=DEFAULT_DATA / "demo",
        metavar="DIR",
        help="the directory of the store, logs and traces; the last demo's are deleted first (default: %(default)s)",
    )


def _add_run(commands: Commands) -> None:
    run = commands.add_parser("run", help="run one service in this process", description=_RUN)
    run.add_argument("service", choices=SERVICES)
    rest = run.add_argument(
        "arguments", nargs=argparse.REMAINDER, metavar="...", help="arguments of the service"
    )
    rest.required = False  # argparse would ask for it where the service is missing


def _add_questions(commands: Commands) -> None:
    define_ask(commands.add_parser("ask", help="send one request and print the answer"), _add_data)
    text = "show how a request would be routed, and why; no provider is called"
    define_explain(commands.add_parser("explain", help=text), _add_data)


def _add_status(commands: Commands) -> None:
    text = "show live services, mailboxes and the use of limits"
    status = commands.add_parser("status", help=text, description=_sentence(text))
    status.add_argument(
        "--all", action="store_true", help="also models that were named a moment ago and have no work now"
    )
    status.add_argument("--json", action="store_true", help="print JSON")
    _add_data(status)


def _add_trace(commands: Commands) -> None:
    text = "print the trace of a request as a tree"
    trace = commands.add_parser("trace", help=text, description=_sentence(text))
    trace.add_argument(
        "request_id",
        nargs="?",
        default="last",
        help="the request id, or its beginning; default: last, the newest request that has a trace",
    )
    _add_data(trace)


def _add_cancel(commands: Commands) -> None:
    text = "cancel a request, queued or running"
    cancel = commands.add_parser("cancel", help=text, description=f"{_sentence(text)} {_CANCEL}")
    cancel.add_argument(
        "request_id", type=parse_request_id, metavar="ID", help="the request id; `ask` prints it"
    )
    _add_data(cancel)


def _add_jobs(commands: Commands) -> None:
    text = "list jobs; show, cancel or read one"
    jobs = commands.add_parser("jobs", help=text, description=_sentence(text))
    jobs.add_argument(
        "request_id", nargs="?", type=parse_request_id, metavar="ID", help="one job; default: a list of all"
    )
    jobs.add_argument("--state", choices=JOB_STATES, help="list only jobs in this state")
    jobs.add_argument("--user", type=parse_text, help="list only jobs of this user")
    action = jobs.add_mutually_exclusive_group()
    action.add_argument("--result", action="store_true", help="print the answer of ID")
    action.add_argument("--cancel", action="store_true", help="cancel ID, queued or running")
    jobs.add_argument("--json", action="store_true", help="print JSON")
    _add_data(jobs)


def _add_dead(commands: Commands) -> None:
    dead = commands.add_parser("dead", help="list, show, redrive or drop dead letters")
    actions = dead.add_subparsers(dest="action", required=True, metavar="list|show|redrive|drop")
    listing = actions.add_parser("list", help="list dead letters and their reasons")
    _add_letter_filters(listing)
    listing.add_argument("--json", action="store_true", help="as JSON, bodies included")
    show = actions.add_parser("show", help="show one letter: reason, history, headers and body")
    show.add_argument(
        "seqs", nargs=1, type=parse_sequence, metavar="SEQ", help="its sequence number in the list"
    )
    show.add_argument("--json", action="store_true", help="print JSON")
    redrive = actions.add_parser(
        "redrive", help="submit the requests again, each as a job under a new id, and delete the letters"
    )
    drop = actions.add_parser("drop", help="delete letters permanently")
    for action in (redrive, drop):
        action.add_argument(
            "seqs", nargs="*", type=parse_sequence, metavar="SEQ", help="sequence numbers in the list"
        )
        action.add_argument("--all", action="store_true", help="all of --role")
        _add_letter_filters(action)
    redrive.add_argument("--json", action="store_true", help="print a line of JSON for each letter")
    drop.add_argument("--yes", action="store_true", help="delete without confirmation")
    for action in (listing, show, redrive, drop):
        _add_data(action)


def _add_letter_filters(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--role", help="letters of this role, or of `router`")
    parser.add_argument(
        "--since", type=parse_duration_s, metavar="TIME", help="letters of the last 30m, 12h, 7d"
    )
    parser.add_argument("--code", help="letters with this code, for example undeliverable")


def _add_keys(commands: Commands) -> None:
    text = "create, list or revoke API keys of the HTTP edge"
    define_keys(commands.add_parser("keys", help=text, description=_sentence(text)), _add_data)


def _add_budget(commands: Commands) -> None:
    text = "show and change budgets: limits of requests, tokens and money"
    define_budget(commands.add_parser("budget", help=text, description=_sentence(text)), _add_data)
    text = "list the price of each model; replace one while services run"
    define_prices(commands.add_parser("prices", help=text, description=_sentence(text)), _add_data)
    define_spend(commands.add_parser("spend", help="show what was spent", description=SPEND), _add_data)
    text = "show the ledger's partitions; check its books"
    define_ledger(commands.add_parser("ledger", help=text, description=_sentence(text)), _add_data)


def _add_guard(commands: Commands) -> None:
    text = "try the safety guard; show and change its policies"
    define_guard(commands.add_parser("guard", help=text, description=_sentence(text)), _add_data)


def _add_documents(commands: Commands) -> None:
    define_index(commands.add_parser("index", help="send files to a collection"), _add_data)
    define_search(commands.add_parser("search", help="find passages of a collection"), _add_data)
    text = "list, show or drop collections"
    define_collections(commands.add_parser("collections", help=text, description=_sentence(text)), _add_data)
    text = "list or forget what is remembered of a user"
    define_memory(commands.add_parser("memory", help=text, description=_sentence(text)), _add_data)


def _add_config(commands: Commands) -> None:
    config = commands.add_parser("config", help="check or print the configuration")
    actions = config.add_subparsers(dest="action", required=True, metavar="check|print")
    for name, text in (
        ("check", "validate the settings and the catalogue, and list every mistake"),
        ("print", "print the effective configuration with secrets masked"),
    ):
        action = actions.add_parser(name, help=text, description=_sentence(text))
        action.add_argument("path", nargs="?", help="a catalogue (default: the effective one)")


def _add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=named_directory, default=DEFAULT_DATA, metavar="DIR", help=_DATA_OF_UP)


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def contradiction(arguments: argparse.Namespace) -> str | None:
    """Why these arguments contradict each other, in a sentence; None: they do not.

    An option without effect is a mistake and is reported.
    """
    rule = _RULES.get(arguments.command)
    return None if rule is None else rule(arguments)


def _check_jobs(arguments: argparse.Namespace) -> str | None:
    if arguments.request_id is None:
        return "--result and --cancel need the ID of a job" if arguments.result or arguments.cancel else None
    filters = given({"--state": arguments.state, "--user": arguments.user})
    if filters:
        return f"{filters} filters the list of all jobs and has no effect with an ID"
    if arguments.cancel and arguments.json:
        return (
            "--cancel prints a sentence and no JSON; omit --json, and read the status of the job afterwards"
        )
    return None


def _check_dead(arguments: argparse.Namespace) -> str | None:
    if arguments.action not in {"redrive", "drop"}:
        return None
    if bool(arguments.seqs) == arguments.all:
        return f"dead {arguments.action} needs either sequence numbers or --all"
    if arguments.all:
        return None if arguments.role is not None else "--all needs --role"
    filters = given({"--role": arguments.role, "--code": arguments.code, "--since": arguments.since})
    if filters:
        return f"{filters} filters --all and has no effect with sequence numbers"
    return None


_RULES: Final[Mapping[str, Callable[[argparse.Namespace], str | None]]] = {
    "ask": check_ask,
    "explain": check_explain,
    "jobs": _check_jobs,
    "dead": _check_dead,
    "budget": check_budget,
    "prices": check_prices,
    "guard": check_guard,
    "index": check_index,
    "search": check_search,
}
