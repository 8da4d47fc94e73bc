"""The options of `penstock guard`, and the rules between them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final, cast, get_args

from penstock.cli.argument_types import AddData, parse_account, parse_text
from penstock.cli.guard.edit import INHERIT
from penstock.contract.guard.policies import ACTIONS, DETECTORS, Action, GuardMode, WhenUnavailable
from penstock.runtime.config.guard import action_problem
from penstock.runtime.config.problems import nearest

__all__ = ["check_guard", "define_guard"]

_TRY: Final = """\
Ask a running guard about one text, and show each finding with its place and the detector. Without --account all enabled
detectors are asked and nothing is blocked; with it, the policy of the account decides. Exit code 3 if it would not let
the text pass. No event is stored without --account."""
_TEST: Final = """\
Check every text of a labelled set of your own (docs/guard.md has the format) and print precision and recall of each
kind of finding, and the first misses and false alarms. No event is stored."""
_SET: Final = """\
Change the guard policy of one account, or of all accounts, whose own settings go before it; what is not named stays as
it is. `inherit` removes what was set: what is less specific applies again. Every process applies the change within a
second."""
_UNSET: Final = "Remove what `penstock guard set` stored: what is less specific applies again."
_VERDICTS: Final = """\
List what the guard decided about requests and answers with findings, the newest last: kinds and numbers, no
content."""
_MODES: Final = (*get_args(GuardMode), INHERIT)
_LISTED: Final = 50


def define_guard(guard: argparse.ArgumentParser, add_data: AddData) -> None:
    actions = guard.add_subparsers(
        dest="action", required=True, metavar="try|test|show|set|unset|history|verdicts"
    )
    trial = actions.add_parser("try", help="show what the guard finds in a text", description=_TRY)
    test = actions.add_parser(
        "test", help="measure precision and recall on a labelled set", description=_TEST
    )
    show = actions.add_parser("show", help="show the policy of an account, or which accounts have their own")
    change = actions.add_parser("set", help="change a policy while services run", description=_SET)
    unset = actions.add_parser("unset", help="remove a changed policy", description=_UNSET)
    history = actions.add_parser("history", help="list who changed which policy, and how")
    verdicts = actions.add_parser("verdicts", help="list what the guard decided", description=_VERDICTS)
    _add_trial(trial)
    test.add_argument("path", type=Path, metavar="FILE", help="a file with one JSON object a line")
    for action in (show, history, verdicts):
        action.add_argument("account", nargs="?", type=parse_account, metavar="ACCOUNT", help="only this one")
    for action in (change, unset):
        action.add_argument("account", nargs="?", type=parse_account, metavar="ACCOUNT")
        action.add_argument(
            "--every", action="store_true", help="all accounts; the settings of one go before it"
        )
        action.add_argument("--by", type=parse_text, help="who makes the change (default: your login name)")
    _add_change(change)
    verdicts.add_argument(
        "--last", type=_number, default=_LISTED, metavar="N", help="how many (default: %(default)s)"
    )
    for action in (trial, test, show, history, verdicts):
        action.add_argument("--json", action="store_true", help="print JSON")
    for action in (trial, test, show, change, unset, history, verdicts):
        add_data(action)


def check_guard(arguments: argparse.Namespace) -> str | None:
    """Why the options contradict each other; None: they do not."""
    if arguments.action == "try":
        given = (arguments.text is not None) + (arguments.file is not None)
        return None if given == 1 else "give either a text or --file"
    if arguments.action not in ("set", "unset"):
        return None
    if arguments.every == (arguments.account is not None):
        return "give either an ACCOUNT or --every"
    return _check_set(arguments) if arguments.action == "set" else None


def _check_set(arguments: argparse.Namespace) -> str | None:
    pairs = {
        "--input": arguments.input,
        "--output": arguments.output,
        "--when-unavailable": arguments.when_unavailable,
    }
    others = (arguments.mode, arguments.restore, arguments.note)
    if not any(pairs.values()) and all(other is None for other in others):
        return "nothing to change: give --mode, or an action such as --input personal_data=redact"
    for option, given in pairs.items():
        names = [name for name, _ in given]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            return f"{option} names {twice} twice"
    return None


def _add_trial(trial: argparse.ArgumentParser) -> None:
    trial.add_argument(
        "text", nargs="?", type=parse_text, metavar="TEXT", help="the text; - reads it from stdin"
    )
    trial.add_argument("--file", type=Path, metavar="FILE", help="a text file instead, in UTF-8")
    trial.add_argument(
        "--account", type=parse_account, help="apply the policy of this account (default: only show findings)"
    )
    trial.add_argument("--output", action="store_true", help="check it as the answer of a model")


def _add_change(change: argparse.ArgumentParser) -> None:
    change.add_argument("--mode", choices=_MODES, help="when the input is checked")
    for option, text in (("--input", "in requests"), ("--output", "in answers")):
        change.add_argument(
            option,
            action="append",
            type=_parse_action,
            default=[],
            metavar="CATEGORY=ACTION",
            help=f"what happens to findings {text}, as personal_data/email=redact: {', '.join(ACTIONS)}, or inherit; "
            "may be repeated",
        )
    change.add_argument(
        "--when-unavailable",
        action="append",
        type=_parse_when,
        default=[],
        metavar="DETECTOR=WHEN",
        help="allow or refuse what this detector could not check, or inherit; may be repeated",
    )
    change.add_argument(
        "--restore",
        action=argparse.BooleanOptionalAction,
        help="put redacted values of the request into the answer, in place of their placeholders",
    )
    change.add_argument("--note", type=parse_text, help="why; shown in the history")


def _parse_action(text: str) -> tuple[str, str]:
    name, _, action = text.partition("=")
    choices = (*ACTIONS, INHERIT)
    if action not in choices:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not CATEGORY=ACTION, as personal_data=redact: the actions are {', '.join(choices)}"
        )
    problem = action_problem(name, "allow" if action == INHERIT else cast("Action", action))
    if problem is not None:
        raise argparse.ArgumentTypeError(f"{name!r} {problem[0]}: {problem[1]}")
    return name, action


def _parse_when(text: str) -> tuple[str, str]:
    name, _, when = text.partition("=")
    choices = (*get_args(WhenUnavailable), INHERIT)
    if when not in choices:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not DETECTOR=WHEN, as safety_model=refuse: write {', '.join(choices)} after ="
        )
    if name not in DETECTORS:
        raise argparse.ArgumentTypeError(f"{name!r} is not a detector: {nearest(name, DETECTORS)}")
    return name, when


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= 100_000):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 100000")
    return int(text)
