"""Rules between options that argparse does not check. An option without effect is a mistake and is reported."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Mapping
from typing import Final

from penstock.contract.request import LONGEST_S

__all__ = ["contradiction"]


def contradiction(arguments: Namespace) -> str | None:
    """Why these arguments contradict each other, in a sentence; None: they do not."""
    rule = _RULES.get(arguments.command)
    return None if rule is None else rule(arguments)


def _ask(arguments: Namespace) -> str | None:
    if not arguments.detach:
        return _timeout(arguments)
    if arguments.lane != "batch":
        return "--detach submits a job: add --lane batch"
    if arguments.no_stream:
        return "--no-stream has no effect with --detach, which prints no answer"
    return _timeout(arguments)


def _timeout(arguments: Namespace) -> str | None:
    longest_s = LONGEST_S[arguments.lane]
    if arguments.timeout is None or arguments.timeout <= longest_s:
        return None
    batch_s = LONGEST_S["batch"]
    fix = f"; --lane batch takes up to {batch_s} s" if arguments.timeout <= batch_s != longest_s else ""
    return f"--timeout is at most {longest_s} s in the {arguments.lane} lane{fix}"


def _jobs(arguments: Namespace) -> str | None:
    if arguments.request_id is None:
        return "--result and --cancel need the ID of a job" if arguments.result or arguments.cancel else None
    filters = _given({"--state": arguments.state, "--user": arguments.user})
    if filters:
        return f"{filters} filters the list of all jobs and has no effect with an ID"
    if arguments.cancel and arguments.json:
        return (
            "--cancel prints a sentence and no JSON; omit --json, and read the status of the job afterwards"
        )
    return None


def _dead(arguments: Namespace) -> str | None:
    if arguments.action not in {"redrive", "drop"}:
        return None
    if bool(arguments.seqs) == arguments.all:
        return f"dead {arguments.action} needs either sequence numbers or --all"
    if arguments.all:
        return None if arguments.role is not None else "--all needs --role"
    filters = _given({"--role": arguments.role, "--code": arguments.code, "--since": arguments.since})
    if filters:
        return f"{filters} filters --all and has no effect with sequence numbers"
    return None


def _given(options: Mapping[str, object]) -> str:
    return " ".join(name for name, value in options.items() if value is not None)


_RULES: Final[Mapping[str, Callable[[Namespace], str | None]]] = {
    "ask": _ask,
    "explain": _timeout,
    "jobs": _jobs,
    "dead": _dead,
}
