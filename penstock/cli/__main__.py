"""The `penstock` command."""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, NoReturn

from msgspec.structs import replace

from penstock.cli.command_output import code_after_output
from penstock.cli.errors import CommandError, LaunchError
from penstock.cli.local.python_child import code_path, service_argv
from penstock.cli.parser import contradiction, make_parser
from penstock.cli.program_name import as_invoked, command_name
from penstock.cli.render.terminal_safe import visible
from penstock.errors import PenstockError
from penstock.runtime.config.problems import ConfigurationRefused

if TYPE_CHECKING:
    from penstock.cli.budget.edit import BudgetChange
    from penstock.cli.commands.question import Question
    from penstock.cli.guard.edit import GuardChange
    from penstock.contract.names import Rescue

__all__ = ["main"]

_SERVER_PACKAGE: Final = "faststream"
"""A package that only `penstock[server]` installs."""
_NO_COMMAND: Final = 2
_INTERRUPTED: Final = 130
"""Exit code after SIGINT: 128 plus the signal number, as shells report it."""

# Each command imports its own modules: `penstock status` does not wait for the import of a web server.
# ruff: noqa: PLC0415


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Exit code 1 for an error, 2 for an invalid command line, 141 when its output is not read."""
    return code_after_output(lambda: _run_command(argv))


def _run_command(argv: Sequence[str] | None) -> int:
    arguments = _parsed(argv)
    try:
        return _COMMANDS[arguments.command](arguments)
    except (CommandError, LaunchError, PenstockError, ConfigurationRefused) as error:
        print(f"penstock: {visible(as_invoked(str(error)), lines=True)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return _INTERRUPTED


def _parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser()
    if not (sys.argv[1:] if argv is None else argv):
        parser.print_help(sys.stderr)
        raise SystemExit(_NO_COMMAND)
    arguments, rest = parser.parse_known_args(argv)
    if rest:
        options = [word for word in rest if word.startswith("-")]
        unknown = f"unrecognized arguments: {' '.join(options or rest)}"
        if arguments.command in {"ask", "explain", "search"} and not options:
            question = " ".join((arguments.prompt, *rest))
            unknown += f'; put the question in quotes: {command_name()} {arguments.command} "{question}"'
        arguments.parser.error(unknown)
    reason = contradiction(arguments)
    if reason is not None:
        arguments.parser.error(reason)
    return arguments


def _up(arguments: argparse.Namespace) -> int:
    from penstock.cli.local.up import up

    return up(
        arguments.data,
        per_role=arguments.per_role,
        simulator=not arguments.no_simulator,
        nats_port=arguments.nats_port,
    )


def _demo(arguments: argparse.Namespace) -> int:
    from penstock.cli.demo.demo import demo

    return demo(arguments.data)


def _run(arguments: argparse.Namespace) -> NoReturn:
    """Replace this process by the service, which then handles signals and sets the exit code."""
    if importlib.util.find_spec(_SERVER_PACKAGE) is None:
        raise ModuleNotFoundError(name=_SERVER_PACKAGE)
    argv = service_argv(arguments.service, *arguments.arguments)
    sys.stdout.flush()
    os.execve(argv[0], argv, {**os.environ, **code_path(os.environ)})  # noqa: S606 - runs without a shell


def _ask(arguments: argparse.Namespace) -> int:
    from penstock.cli.commands.ask import ask, submit_job

    question = _question(arguments, stream=not arguments.no_stream, rescue=arguments.rescue)
    return submit_job(question, arguments.data) if arguments.detach else ask(question, arguments.data)


def _explain(arguments: argparse.Namespace) -> int:
    from penstock.cli.commands.explain import explain

    return explain(_question(arguments), arguments.data)


def _question(arguments: argparse.Namespace, *, stream: bool = True, rescue: Rescue = "restart") -> Question:
    from penstock.cli.commands.question import Question
    from penstock.cli.retrieval.options import rag_of

    return Question(
        prompt=arguments.prompt,
        role=arguments.role,
        model=arguments.model,
        complexity=arguments.complexity,
        images=tuple(arguments.image),
        system=arguments.system,
        max_tokens=arguments.max_tokens,
        user=arguments.user,
        timeout_s=arguments.timeout,
        stream=stream,
        as_json=arguments.json,
        lane=arguments.lane,
        rescue=rescue,
        rag=rag_of(arguments),
        conversation=getattr(arguments, "conversation", ""),
        embed=getattr(arguments, "embed", False),
    )


def _status(arguments: argparse.Namespace) -> int:
    from penstock.cli.commands.status import status

    return status(arguments.data, as_json=arguments.json, with_idle=arguments.all)


def _trace(arguments: argparse.Namespace) -> int:
    from penstock.cli.commands.trace import trace

    return trace(arguments.request_id, arguments.data)


def _cancel(arguments: argparse.Namespace) -> int:
    from penstock.cli.commands.cancel import cancel_request

    return cancel_request(arguments.request_id, arguments.data)


def _jobs(arguments: argparse.Namespace) -> int:
    from penstock.cli.commands.jobs import cancel_job, list_jobs, print_result, show_job

    if arguments.request_id is None:
        return list_jobs(arguments.data, state=arguments.state, user=arguments.user, as_json=arguments.json)
    if arguments.cancel:
        return cancel_job(arguments.request_id, arguments.data)
    if arguments.result:
        return print_result(arguments.request_id, arguments.data, as_json=arguments.json)
    return show_job(arguments.request_id, arguments.data, as_json=arguments.json)


def _dead(arguments: argparse.Namespace) -> int:
    from penstock.cli.commands.dead import drop, list_letters, show
    from penstock.cli.commands.redrive import redrive
    from penstock.cli.dead_letters import LetterSelection

    if arguments.action == "show":
        return show(arguments.seqs[0], arguments.data, as_json=arguments.json)
    selection = LetterSelection(
        seqs=() if arguments.action == "list" else tuple(dict.fromkeys(arguments.seqs)),
        role=arguments.role,
        code=arguments.code,
        since_s=arguments.since,
    )
    if arguments.action == "list":
        return list_letters(selection, arguments.data, as_json=arguments.json)
    if arguments.action == "drop":
        return drop(selection, arguments.data, confirmed=arguments.yes)
    return redrive(selection, arguments.data, as_json=arguments.json)


def _keys(arguments: argparse.Namespace) -> int:
    from penstock.cli.commands.keys import KeyRequest, create_key, list_keys, revoke

    if arguments.action == "list":
        return list_keys(arguments.data, as_json=arguments.json)
    if arguments.action == "revoke":
        return revoke(arguments.prefix, arguments.data)
    wanted = KeyRequest(
        account=arguments.account,
        user=arguments.user,
        roles=tuple(arguments.role),
        models=tuple(arguments.model),
        rescue=arguments.rescue,
        expires_s=arguments.expires,
        note=arguments.note,
    )
    return create_key(wanted, arguments.data, as_json=arguments.json)


def _spend(arguments: argparse.Namespace) -> int:
    from penstock.cli.commands.spend import SpendQuestion, spend

    question = SpendQuestion(
        by=arguments.by,
        since=arguments.since,
        until=arguments.until,
        account=arguments.account or "",
        user=arguments.user,
        form="json" if arguments.json else "csv" if arguments.csv else "text",
    )
    return spend(question, arguments.data)


def _ledger(arguments: argparse.Namespace) -> int:
    from penstock.cli.commands.ledger import ledger_status, verify

    command = verify if arguments.action == "verify" else ledger_status
    return command(arguments.data, as_json=arguments.json)


def _budget(arguments: argparse.Namespace) -> int:
    from penstock.cli.commands.budget_change import (
        BudgetTarget,
        disable_budget,
        enable_budget,
        set_budget,
        unset_budget,
    )

    if arguments.action in {"show", "list", "history", "alerts"}:
        return _read_budget(arguments)
    target = BudgetTarget(
        account=arguments.account,
        user=arguments.user,
        key=arguments.key,
        every=arguments.every,
        tier=arguments.tier_definition,
        system=arguments.system,
    )
    if arguments.action == "set":
        return set_budget(target, _budget_change(arguments), arguments.by, arguments.data)
    if arguments.action == "unset":
        return unset_budget(target, arguments.by, arguments.data)
    switch = disable_budget if arguments.action == "disable" else enable_budget
    return switch(target, arguments.note, arguments.by, arguments.data)


def _read_budget(arguments: argparse.Namespace) -> int:
    from penstock.cli.commands.budget import Shown, list_budgets, show_alerts, show_budget, show_history

    if arguments.action == "list":
        return list_budgets(arguments.data, as_json=arguments.json)
    if arguments.action == "alerts":
        return show_alerts(arguments.since, arguments.data, as_json=arguments.json)
    shown = Shown(account=arguments.account, user=arguments.user, key=arguments.key, system=arguments.system)
    if arguments.action == "history":
        return show_history(shown, arguments.data, as_json=arguments.json)
    shown = replace(shown, every=arguments.every, tier=arguments.tier_definition)
    return show_budget(shown, arguments.data, as_json=arguments.json)


def _budget_change(arguments: argparse.Namespace) -> BudgetChange:
    from penstock.cli.budget.edit import BudgetChange
    from penstock.cli.budget.options import LIMIT_OPTIONS

    given = {stored: getattr(arguments, name) for name, stored in LIMIT_OPTIONS.items()}
    return BudgetChange(
        amounts={name: amount for name, amount in given.items() if amount is not None},
        traffic=arguments.traffic,
        tier=arguments.tier,
        soft=tuple(LIMIT_OPTIONS[name] for name in arguments.soft),
        hard=tuple(LIMIT_OPTIONS[name] for name in arguments.hard),
        time_zone=arguments.time_zone,
        note=arguments.note,
    )


def _prices(arguments: argparse.Namespace) -> int:
    from penstock.cli.commands.prices import PriceChange, list_prices, set_price, unset_price
    from penstock.contract.ledger.policies import TokenPrices

    if arguments.action == "list":
        return list_prices(arguments.data, as_json=arguments.json)
    if arguments.action == "unset":
        return unset_price(arguments.model, arguments.by, arguments.data)
    given = {kind: getattr(arguments, kind) for kind in TokenPrices.__struct_fields__}
    change = PriceChange(
        prices={kind: price for kind, price in given.items() if price is not None},
        as_of=arguments.as_of,
        source=arguments.source,
    )
    return set_price(arguments.model, change, arguments.by, arguments.data)


def _guard(arguments: argparse.Namespace) -> int:
    if arguments.action in {"try", "test"}:
        return _check_by_guard(arguments)
    return _guard_policy(arguments)


def _check_by_guard(arguments: argparse.Namespace) -> int:
    from penstock.cli.commands.guard_check import Trial, measure_set, try_text

    if arguments.action == "test":
        return measure_set(arguments.path, arguments.data, as_json=arguments.json)
    trial = Trial(
        text=arguments.text, file=arguments.file, account=arguments.account, output=arguments.output
    )
    return try_text(trial, arguments.data, as_json=arguments.json)


def _guard_policy(arguments: argparse.Namespace) -> int:
    from penstock.cli.commands.guard import show_policies, show_policy, show_policy_history, show_verdicts
    from penstock.cli.commands.guard_change import set_policy, unset_policy
    from penstock.contract.guard.policies import EVERY

    account, data = arguments.account, arguments.data
    if arguments.action == "set":
        return set_policy(account or EVERY, _guard_change(arguments), arguments.by, data)
    if arguments.action == "unset":
        return unset_policy(account or EVERY, arguments.by, data)
    if arguments.action == "history":
        return show_policy_history(account, data, as_json=arguments.json)
    if arguments.action == "verdicts":
        return show_verdicts(account, arguments.last, data, as_json=arguments.json)
    if account is None:
        return show_policies(data, as_json=arguments.json)
    return show_policy(account, data, as_json=arguments.json)


def _guard_change(arguments: argparse.Namespace) -> GuardChange:
    from penstock.cli.guard.edit import GuardChange

    return GuardChange(
        mode=arguments.mode,
        input=dict(arguments.input),
        output=dict(arguments.output),
        when_unavailable=dict(arguments.when_unavailable),
        restore=arguments.restore,
        note=arguments.note,
    )


def _documents(arguments: argparse.Namespace) -> int:
    from penstock.cli.commands.retrieval.from_arguments import run

    return run(arguments)


def _config(arguments: argparse.Namespace) -> int:
    from penstock.cli.commands.config import check, print_effective

    return check(arguments.path) if arguments.action == "check" else print_effective(arguments.path)


_COMMANDS: Final[dict[str, Callable[[argparse.Namespace], int]]] = {
    "up": _up,
    "demo": _demo,
    "run": _run,
    "ask": _ask,
    "explain": _explain,
    "status": _status,
    "trace": _trace,
    "cancel": _cancel,
    "jobs": _jobs,
    "dead": _dead,
    "keys": _keys,
    "spend": _spend,
    "ledger": _ledger,
    "budget": _budget,
    "prices": _prices,
    "guard": _guard,
    "index": _documents,
    "search": _documents,
    "collections": _documents,
    "memory": _documents,
    "config": _config,
}


if __name__ == "__main__":
    sys.exit(main())
