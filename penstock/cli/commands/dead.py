"""`penstock dead list`, `show` and `drop`: inspect dead letters and delete them."""

from __future__ import annotations

import asyncio
from pathlib import Path

from penstock.bus.direct_get import delete_message
from penstock.cli.confirmation import confirmed as confirm
from penstock.cli.connection import command_settings, open_connection
from penstock.cli.dead_letters import DeadLetter, LetterSelection, read_letters
from penstock.cli.render.dead_letters import as_data, letter_text, list_text
from penstock.cli.render.terminal_safe import as_ascii_json
from penstock.contract.streams import DEAD

__all__ = ["CONNECTION_NAME", "drop", "list_letters", "show"]

CONNECTION_NAME = "penstock-dead"


def list_letters(selection: LetterSelection, data: Path, *, as_json: bool) -> int:
    """Print the selected letters. Raises BrokerUnreachable, ConfigurationRefused and CommandError."""
    letters = asyncio.run(_collect(selection, data))
    if as_json:
        print(as_ascii_json([as_data(letter) for letter in letters]))
    else:
        print(list_text(letters))
    return 0


def show(seq: int, data: Path, *, as_json: bool) -> int:
    """Print one letter with its history, headers and body. Raises as `list_letters`."""
    (letter,) = asyncio.run(_collect(LetterSelection(seqs=(seq,)), data))
    print(as_ascii_json(as_data(letter)) if as_json else letter_text(letter))
    return 0


def drop(selection: LetterSelection, data: Path, *, confirmed: bool) -> int:
    """Delete the selected letters permanently, after a question unless `confirmed`. Raises as `list_letters`."""
    letters = asyncio.run(_collect(selection, data))
    if not letters:
        print("No dead letters.")
        return 0
    if not confirmed:
        print(list_text(letters))
        if not confirm(f"Delete {len(letters):,} permanently?"):
            print("Nothing was deleted.")
            return 1
    print(f"{asyncio.run(_delete([letter.seq for letter in letters], data)):,} deleted.")
    return 0


async def _collect(selection: LetterSelection, data: Path) -> list[DeadLetter]:
    async with open_connection(command_settings(data), CONNECTION_NAME) as nc:
        letters = [letter async for letter in read_letters(nc, selection)]
        if not letters:
            await nc.jetstream().account_info()  # reports a server without JetStream
        return letters


async def _delete(seqs: list[int], data: Path) -> int:
    async with open_connection(command_settings(data), CONNECTION_NAME) as nc:
        return sum([await delete_message(nc, DEAD.name, seq, erase=True) for seq in seqs])
