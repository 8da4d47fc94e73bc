"""`penstock keys`: create, list and revoke API keys of the HTTP edge."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct
from nats.aio.client import Client as Nats

from penstock.bus.bucket import RecordChanged, last_change
from penstock.cli.connection import check_provisioned, command_settings, open_connection, read_server_clock
from penstock.cli.errors import CommandError
from penstock.cli.known_catalogue import known_catalogue
from penstock.cli.render.keys import keys_text
from penstock.cli.render.terminal_safe import as_ascii_json
from penstock.contract.guard.policies import GUARD_ACCOUNT
from penstock.contract.keys import ApiKey
from penstock.contract.names import AUTO
from penstock.contract.streams import KEYS
from penstock.runtime.api_keys.bucket import read_keys, revoke_key, store_key
from penstock.runtime.api_keys.format import digest, make_key, prefix_of
from penstock.runtime.config.problems import nearest
from penstock.runtime.config.settings import Settings

__all__ = ["KeyRequest", "create_key", "list_keys", "revoke"]

_NAME: Final = "penstock-keys"
_FIRST: Final = (
    "It is the first one: from now on every client of the HTTP edge needs a key, also after all keys were revoked. To "
    f"use Penstock without keys again, delete the bucket (`nats kv del {KEYS.name}`) and start routers and edges again "
    "(docs/http.md, Keys)."
)


class KeyRequest(Struct, frozen=True, kw_only=True):
    """What a new key shall allow."""

    account: str | None = None
    """None: the account of the settings."""
    user: str = ""
    roles: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    rescue: str = "error"
    """The header `x-penstock-rescue` of requests that have none."""
    expires_s: float | None = None
    note: str = ""


def create_key(wanted: KeyRequest, data: Path, *, as_json: bool) -> int:
    """Print the key on stdout. Raises BrokerUnreachable, ConfigurationRefused and CommandError."""
    if wanted.account == GUARD_ACCOUNT:
        raise CommandError(
            f"the account {GUARD_ACCOUNT} is the guard's own, whose requests are never checked: it has no keys"
        )
    settings = command_settings(data)
    key = make_key()
    record, is_first = asyncio.run(_store(key, wanted, settings))
    print(as_ascii_json({"key": key, **_shown(record)}) if as_json else key)
    notes = [f"Keep this key of the account {record.account} now: it is not stored and not shown again."]
    if is_first:
        notes.append(_FIRST)
    notes += _warnings(wanted.roles, data)
    print("\n".join(notes), file=sys.stderr)
    return 0


def list_keys(data: Path, *, as_json: bool) -> int:
    """Raises as `create_key`."""
    keys, now_ms = asyncio.run(_read(command_settings(data)))
    keys.sort(key=lambda key: key.created_ms)
    print(as_ascii_json(list(map(_shown, keys))) if as_json else keys_text(keys, now_ms))
    return 0


def revoke(prefix: str, data: Path) -> int:
    """Raises as `create_key`."""
    before = asyncio.run(_revoke(prefix, command_settings(data)))
    if before is None:
        raise CommandError(f"there is no key with the prefix {prefix}: `penstock keys list` lists all keys")
    if before.revoked_ms is not None:
        print(f"The key {prefix} was revoked before.")
    else:
        print(f"The key {prefix} is revoked: every edge rejects it within two seconds.")
    return 0


def _warnings(roles: tuple[str, ...], data: Path) -> list[str]:
    """Roles may be added to the catalogue later, so an unknown one is no error."""
    catalogue = known_catalogue(data)
    if catalogue is None:
        return []
    unknown = [role for role in roles if role != AUTO and role not in catalogue.roles]
    return [
        f"Warning: the catalogue {catalogue.name} has no role {role} ({nearest(role, catalogue.roles)}): until it has "
        "one, this name allows nothing."
        for role in unknown
    ]


def _record(key: str, wanted: KeyRequest, account: str, now_ms: int) -> ApiKey:
    return ApiKey(
        prefix=str(prefix_of(key)),
        sha256=digest(key),
        account=account,
        user=wanted.user,
        roles=wanted.roles,
        models=wanted.models,
        rescue=wanted.rescue,
        created_ms=now_ms,
        expires_ms=None if wanted.expires_s is None else now_ms + int(wanted.expires_s * 1000),
        note=wanted.note,
    )


def _shown(key: ApiKey) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.to_builtins(key)
    return {name: value for name, value in fields.items() if name not in {"type", "sha256", "v"}}


async def _store(key: str, wanted: KeyRequest, settings: Settings) -> tuple[ApiKey, bool]:
    """The record, and whether there was no key before."""
    async with _connected(settings) as nc:
        now_ms = (await read_server_clock(nc)).unix_ms()
        record = _record(key, wanted, wanted.account or settings.account, now_ms)
        is_first = await last_change(nc, KEYS) == 0
        await store_key(nc.jetstream(), record)
        return record, is_first


async def _read(settings: Settings) -> tuple[list[ApiKey], int]:
    """The keys, and the time of the server, Unix milliseconds."""
    async with _connected(settings) as nc:
        return await read_keys(nc), (await read_server_clock(nc)).unix_ms()


async def _revoke(prefix: str, settings: Settings) -> ApiKey | None:
    async with _connected(settings) as nc:
        return await revoke_key(nc.jetstream(), prefix, (await read_server_clock(nc)).unix_ms())


@asynccontextmanager
async def _connected(settings: Settings) -> AsyncIterator[Nats]:
    async with open_connection(settings, _NAME) as nc:
        await check_provisioned(nc, settings)
        try:
            yield nc
        except RecordChanged as changed:
            raise CommandError(
                f"the key {changed} was changed by another command: repeat this one"
            ) from changed
