"""What the commands that change stored records share: who makes the change, and the connection for it."""

from __future__ import annotations

import getpass
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from nats.aio.client import Client as Nats

from penstock.bus.bucket import RecordChanged
from penstock.bus.clock import SYSTEM
from penstock.bus.publish import StreamFull
from penstock.cli.connection import check_provisioned, open_connection
from penstock.cli.errors import CommandError
from penstock.runtime.buckets.changes import Author
from penstock.runtime.config.settings import Settings

__all__ = ["author", "changing"]


def author(by: str | None) -> Author:
    """Who makes a change: as named, else the login name."""
    if by:
        return Author(by, SYSTEM.unix_ms())
    try:
        return Author(getpass.getuser(), SYSTEM.unix_ms())
    except (OSError, KeyError) as error:  # a user id without a name, in a container
        raise CommandError("this user has no login name: say who makes the change with --by") from error


@asynccontextmanager
async def changing(settings: Settings, name: str) -> AsyncIterator[Nats]:
    """A connection of this name for a change. Raises CommandError where the change is rejected."""
    async with open_connection(settings, name) as nc:
        await check_provisioned(nc, settings)
        try:
            yield nc
        except RecordChanged as changed:
            raise CommandError(
                "another command changed it at the same moment, and nothing was stored: repeat this one"
            ) from changed
        except StreamFull as full:
            raise CommandError(
                f"the change is in force, but its event could not be stored for the history: {full}"
            ) from full
