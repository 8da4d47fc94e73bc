"""`penstock guard show`, `history` and `verdicts`."""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
from nats.aio.client import Client as Nats

from penstock.bus.direct_get import read_all
from penstock.cli.commands.guard_change import warn_without_guard
from penstock.cli.connection import check_provisioned, command_settings, open_connection
from penstock.cli.guard.known_policies import KnownPolicies, read_policies
from penstock.cli.known_catalogue import known_catalogue
from penstock.cli.render.guard import accounts_text, history_text, policy_text, verdicts_text
from penstock.cli.render.terminal_safe import as_ascii_json
from penstock.contract import codec, subjects
from penstock.contract.events import GuardDecided, GuardPolicyChanged
from penstock.contract.guard.policies import EVERY
from penstock.contract.streams import AUDIT
from penstock.runtime.guard.changes import GUARD_POLICY_EVENTS

__all__ = ["show_policies", "show_policy", "show_policy_history", "show_verdicts"]

_NAME: Final = "penstock-guard-policy"
_T = TypeVar("_T")


def show_policy(account: str, data: Path, *, as_json: bool) -> int:
    """What applies to one account. Raises BrokerUnreachable, ConfigurationRefused and CommandError."""
    known = _known(data)
    if as_json:
        _print_json(_fields(account, known))
    else:
        print(policy_text(account, known))
    return 0


def show_policies(data: Path, *, as_json: bool) -> int:
    """What applies to accounts without a policy of their own, and which accounts have one. Raises as `show_policy`."""
    known = _known(data)
    if as_json:
        _print_json([_fields(account, known) for account in (EVERY, *known.named())])
    else:
        print(f"{policy_text(EVERY, known)}\n\n{accounts_text(known)}")
    return 0


def show_policy_history(account: str | None, data: Path, *, as_json: bool) -> int:
    """Raises as `show_policy`."""

    async def read(nc: Nats) -> list[GuardPolicyChanged]:
        found = [_event(msg.data) async for msg in read_all(nc, AUDIT.name, GUARD_POLICY_EVENTS)]
        return [event for event in found if isinstance(event, GuardPolicyChanged)]

    changes = sorted(_run(data, read), key=lambda change: change.at_ms)
    chosen = [change for change in changes if account in (None, _account(change))]
    if as_json:
        _print_json(chosen)
    else:
        print(history_text(chosen))
    return 0


def show_verdicts(account: str | None, last: int, data: Path, *, as_json: bool) -> int:
    """The last decisions that were stored, the newest at the end. Raises as `show_policy`."""
    every = subjects.EVENT.format(kind="guard", scope="*")

    async def read(nc: Nats) -> list[GuardDecided]:
        found: deque[GuardDecided] = deque(maxlen=last)
        subject = every if account is None else subjects.event("guard", account)
        async for msg in read_all(nc, AUDIT.name, subject):
            event = _event(msg.data)
            if isinstance(event, GuardDecided):
                found.append(event)
        return list(found)

    decided = _run(data, read)
    if as_json:
        _print_json(decided)
    else:
        print(verdicts_text(decided))
    return 0


def _known(data: Path) -> KnownPolicies:
    catalogue = known_catalogue(data)
    known = _run(data, lambda nc: read_policies(nc, catalogue))
    if catalogue is None:
        print("Warning: this machine does not have the catalogue: only what commands set.", file=sys.stderr)
    warn_without_guard(catalogue)
    return known


def _fields(account: str, known: KnownPolicies) -> dict[str, Any]:
    """The policy in force and the record of its own, with where each setting comes from."""
    return {
        "account": account,
        "in_force": msgspec.to_builtins(known.in_force(account)),
        "record": msgspec.to_builtins(known.records.get(account)),
        "from": known.sources(account),
    }


def _account(change: GuardPolicyChanged) -> str | None:
    policy = change.after or change.before
    return None if policy is None else policy.account


def _event(data: bytes) -> object:
    """None for an event of a later version that cannot be read."""
    try:
        return codec.EVENT.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _run(data: Path, read: Callable[[Nats], Awaitable[_T]]) -> _T:
    settings = command_settings(data)

    async def connected() -> _T:
        async with open_connection(settings, _NAME) as nc:
            await check_provisioned(nc, settings)
            return await read(nc)

    return asyncio.run(connected())


def _print_json(value: object) -> None:
    print(as_ascii_json(value, indented=sys.stdout.isatty()))
