"""`penstock cancel`: cancel a request of either lane, from any process."""

from __future__ import annotations

import asyncio
from pathlib import Path

from penstock.cli.connection import command_settings, open_client
from penstock.runtime.config.settings import Settings

__all__ = ["cancel_request"]


def cancel_request(request_id: str, data: Path) -> int:
    """Send the cancel, which nothing acknowledges.

    Raises BrokerUnreachable, NotAccepted, ConfigurationRefused and CommandError.
    """
    asyncio.run(_cancel(request_id, command_settings(data)))
    print(
        f"cancel sent: if request {request_id} is queued or running, it ends in `failed` with the code cancelled"
    )
    return 0


async def _cancel(request_id: str, settings: Settings) -> None:
    async with open_client(settings) as client:
        await client.cancel(request_id, "from the command line")
