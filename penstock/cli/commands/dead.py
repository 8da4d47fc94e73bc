"""`penstock dead`: look at dead letters, send them again, drop them."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from msgspec import Struct
from nats.aio.client import Client as Nats

from penstock.bus.clock import SYSTEM
from penstock.bus.publish import StreamFull
from penstock.cli.commands.dead_letters import Letter, every_letter, find_letter, remove_letter
from penstock.cli.commands.redrive import Again, NoRequest, again
from penstock.cli.connection import command_settings, open_connection
from penstock.cli.errors import CommandError
from penstock.cli.program_name import command_name
from penstock.cli.render.dead_letters import as_data, letter_text, list_text
from penstock.cli.render.terminal_safe import as_ascii_json, visible
from penstock.client.submit import send, written
from penstock.contract.jobs import Job
from penstock.errors import NotAccepted, RequestTooLarge
from penstock.runtime.jobs.capacity import BoundedJobStore
from penstock.runtime.jobs.transitions import is_promised, next_record

__all__ = ["Wanted", "drop", "list_letters", "redrive", "show"]

_NAME: Final = "penstock-dead"
_PATIENCE_S: Final = 10.0


class Wanted(Struct, frozen=True, kw_only=True):
    """Which letters a command is about."""

    seqs: tuple[int, ...] = ()
    """These; empty: all that the rest lets through."""
    role: str | None = None
    code: str | None = None
    since_s: float | None = None
    """Buried within so many seconds."""


def list_letters(wanted: Wanted, data: Path, *, as_json: bool) -> int:
    """Raises BrokerUnreachable, ConfigurationRefused and CommandError, as all of these."""
    letters = asyncio.run(_collect(wanted, data))
    if as_json:
        print(as_ascii_json([as_data(letter) for letter in letters]))
    else:
        print(list_text(letters))
    return 0


def show(seq: int, data: Path, *, as_json: bool) -> int:
    (letter,) = asyncio.run(_collect(Wanted(seqs=(seq,)), data))
    print(as_ascii_json(as_data(letter)) if as_json else letter_text(letter))
    return 0


def redrive(wanted: Wanted, data: Path, *, as_json: bool) -> int:
    """Exit code 1 when one of them could not be sent again."""
    return asyncio.run(_redrive(wanted, data, as_json=as_json))


def drop(wanted: Wanted, data: Path, *, sure: bool) -> int:
    """Delete them for good, after asking back unless `sure`."""
    letters = asyncio.run(_collect(wanted, data))
    if not letters:
        print("No dead letters.")
        return 0
    if not sure:
        print(list_text(letters))
        if not sys.stdin.isatty():
            raise CommandError("nobody is there to be asked; say --yes")
        if not _agreed(f"Delete {len(letters):,} for good? [y/N] "):
            print("Nothing was deleted.")
            return 1
    print(f"{asyncio.run(_drop([letter.seq for letter in letters], data)):,} deleted.")
    return 0


def _agreed(question: str) -> bool:
    try:
        return input(question).strip().lower() in {"y", "yes"}
    except EOFError:  # Ctrl-D
        print()
        return False


async def _collect(wanted: Wanted, data: Path) -> list[Letter]:
    async with open_connection(command_settings(data), _NAME) as nc:
        return [letter async for letter in _letters(nc, wanted)]


async def _letters(nc: Nats, wanted: Wanted) -> AsyncIterator[Letter]:
    """Raises CommandError for a number that is none."""
    for seq in wanted.seqs:
        letter = await find_letter(nc, seq)
        if letter is None:
            raise CommandError(f"there is no dead letter {seq}: it was sent again, dropped, or never there")
        yield letter
    if wanted.seqs:
        return
    since_ms = 0 if wanted.since_s is None else int((time.time() - wanted.since_s) * 1000)
    async for letter in every_letter(nc, wanted.role):
        if letter.at_ms >= since_ms and wanted.code in {None, letter.code}:
            yield letter


async def _drop(seqs: list[int], data: Path) -> int:
    async with open_connection(command_settings(data), _NAME) as nc:
        return sum([await remove_letter(nc, seq) for seq in seqs])


class _Redriven(Struct, omit_defaults=True):
    """What became of one letter."""

    seq: int
    account: str = ""
    request: str = ""
    before: bool = False
    """An earlier redrive had sent it, and was interrupted before it took the letter away."""
    refused: str = ""


async def _redrive(wanted: Wanted, data: Path, *, as_json: bool) -> int:
    code, settings = 0, command_settings(data)
    own = settings.account
    async with open_connection(settings, _NAME) as nc:
        async for letter in _letters(nc, wanted):
            try:
                done = await _put_back(nc, letter.seq, again(letter, time.time_ns() // 1_000_000))
            except NoRequest as error:
                code, done = 1, _Redriven(letter.seq, refused=str(error))
            print(as_ascii_json(done) if as_json else _line(done, own), flush=True)
    return code


async def _put_back(nc: Nats, seq: int, made: Again) -> _Redriven:
    """Promise, send, take the letter away. Interrupted anywhere, it can be repeated, and is done once."""
    try:
        standing = await BoundedJobStore(nc, SYSTEM).advance(
            made.promise.reply_to, lambda stored: next_record(stored, made.promise)
        )
        promised = standing.ours or standing.job == made.promise or _unsent(standing.job)
        if promised:
            payload = written(made.request)
            await send(nc, made.account, made.request, payload, patience_s=_PATIENCE_S)
    except (StreamFull, NotAccepted, RequestTooLarge) as error:
        raise CommandError(
            f"dead letter {seq} cannot be sent again now: {error}; it is still there"
        ) from error
    await remove_letter(nc, seq)
    return _Redriven(seq, made.account, made.request.id, before=not promised)


def _unsent(job: Job | None) -> bool:
    """Whether no router has seen it: then it may never have been sent."""
    return job is not None and is_promised(job)


def _line(done: _Redriven, own_account: str) -> str:
    if done.refused:
        return f"{done.seq}: not sent again: {visible(done.refused)}"
    as_whom = "" if done.account == own_account else f"PENSTOCK_ACCOUNT={done.account} "
    look = f"{as_whom}{command_name()} jobs {done.request}"
    if done.before:
        return f"{done.seq}: was sent again before, as {done.request}; see {look}"
    return f"{done.seq}: sent again as {done.request}; see {look}"
