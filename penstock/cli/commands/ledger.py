"""`penstock ledger`: where its partitions stand, and whether its books agree."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Final

import msgspec

from penstock.bus.clock import SYSTEM
from penstock.cli.connection import check_provisioned, command_settings, open_connection, read_server_clock
from penstock.cli.errors import CommandError
from penstock.cli.known_catalogue import known_catalogue
from penstock.cli.render.ledger import ledger_text, verification_text
from penstock.cli.render.terminal_safe import as_ascii_json
from penstock.cli.waiting_note import waiting_note
from penstock.contract.subjects import LEDGER_PARTITIONS, SYSTEM_PARTITION
from penstock.runtime.config.settings import Settings
from penstock.runtime.heartbeat import read_heard
from services.ledger.partitions.members import DEAD_AFTER_S
from services.ledger.spend.history import HistoryChanged
from services.ledger.verification.positions import PartitionPosition, read_position
from services.ledger.verification.report import Verification
from services.ledger.verification.verifier import verify_books

__all__ = ["ledger_status", "verify"]

_PARTITIONS: Final = (*map(str, range(LEDGER_PARTITIONS)), SYSTEM_PARTITION)
_NO_BUDGETS: Final = (
    "Warning: the catalogue {} has no section budgets, so no ledger is needed: usage is stored, and not booked until "
    "it has one (docs/budgets.md)."
)


def verify(data: Path, *, as_json: bool) -> int:
    """Exit code 1 when anything differs. Raises BrokerUnreachable, ConfigurationRefused and CommandError."""
    found = asyncio.run(_verify(command_settings(data)))
    if as_json:
        fields = msgspec.to_builtins(found)
        print(as_ascii_json({"agrees": found.agrees, **fields}))
    else:
        print(verification_text(found))
    return 0 if found.agrees else 1


def ledger_status(data: Path, *, as_json: bool) -> int:
    """Exit code 1 when a partition has no owner. Raises as `verify`."""
    positions, owners, silent = asyncio.run(_status(command_settings(data)))
    now_ms = SYSTEM.unix_ms()
    if as_json:
        print(
            as_ascii_json(
                [{"owner": owners.get(each.partition), **msgspec.to_builtins(each)} for each in positions]
            )
        )
    else:
        print(ledger_text(positions, owners, silent, now_ms))
    catalogue = known_catalogue(data)
    if catalogue is not None and catalogue.budgets is None:
        print(_NO_BUDGETS.format(catalogue.name), file=sys.stderr)
    return 0 if all(each.partition in owners for each in positions) else 1


async def _verify(settings: Settings) -> Verification:
    async with open_connection(settings, "penstock-ledger") as nc:
        await check_provisioned(nc, settings)
        print("[reading the journal, the spend history and the recorded usage]", file=sys.stderr, flush=True)
        try:
            async with waiting_note("still reading; a ledger that does not answer delays it by up to 10 s"):
                return await verify_books(nc, int((await read_server_clock(nc)).unix_s()))
        except HistoryChanged as error:
            raise CommandError(
                f"the ledger is summing its history now: repeat the command ({error})"
            ) from error
        except TimeoutError as error:
            raise CommandError("NATS does not answer in time; repeat the command") from error


async def _status(
    settings: Settings,
) -> tuple[list[PartitionPosition], dict[str, str], dict[str, float]]:
    """Where the partitions stand, their owners, and the seconds of the ledgers that have been silent for too long."""
    async with open_connection(settings, "penstock-ledger") as nc:
        await check_provisioned(nc, settings)
        positions = [await read_position(nc, partition) for partition in _PARTITIONS]
        heard = await read_heard(nc, "ledger")
    owners = {
        partition: presence.instance
        for presence, silent_s in heard
        if silent_s < DEAD_AFTER_S
        for partition in presence.partitions
    }
    silent = {presence.instance: silent_s for presence, silent_s in heard if silent_s >= DEAD_AFTER_S}
    return positions, owners, silent
