"""What argparse does not know of: options that need one another, and options that say nothing beside others.

An option that would be passed over in silence is a mistake: whoever wrote it means it.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Mapping
from typing import Final

__all__ = ["mistake"]


def mistake(arguments: Namespace) -> str | None:
    """Why these arguments make no sense together, in a sentence; None: they do."""
    rule = _RULES.get(arguments.command)
    return None if rule is None else rule(arguments)


def _ask(arguments: Namespace) -> str | None:
    if not arguments.detach:
        return None
    if arguments.lane != "batch":
        return "--detach leaves a job behind: add --lane batch"
    if arguments.no_stream:
        return "--no-stream is about how an answer is shown, and --detach shows none"
    return None


def _jobs(arguments: Namespace) -> str | None:
    if arguments.request_id is None:
        return "--result and --cancel need the ID of a job" if arguments.result or arguments.cancel else None
    filters = _given({"--state": arguments.state, "--user": arguments.user})
    if filters:
        return f"{filters} chooses from the list of all jobs; it says nothing beside an ID"
    if arguments.cancel and arguments.json:
        return "--cancel prints a sentence and no JSON; leave --json out, and ask for the job afterwards"
    return None


def _dead(arguments: Namespace) -> str | None:
    if arguments.action not in {"redrive", "drop"}:
        return None
    if bool(arguments.seqs) == arguments.all:
        return f"dead {arguments.action} wants either numbers of letters, or --all"
    if arguments.all:
        return (
            None if arguments.role is not None else "--all needs --role, so that it is not more than you mean"
        )
    filters = _given({"--role": arguments.role, "--code": arguments.code, "--since": arguments.since})
    if filters:
        return f"{filters} chooses among --all; it says nothing beside numbers, which are taken as they are"
    return None


def _given(options: Mapping[str, object]) -> str:
    return " ".join(name for name, value in options.items() if value is not None)


_RULES: Final[Mapping[str, Callable[[Namespace], str | None]]] = {"ask": _ask, "jobs": _jobs, "dead": _dead}
