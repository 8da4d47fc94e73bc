"""The second process of the demo: resume a reply and print the rest of its text as JSON.

Run as `python -m penstock.cli.demo.resume URL ACCOUNT CLIENT REQUEST_ID AFTER_SEQ`.
"""

from __future__ import annotations

import asyncio
import os
import sys

import msgspec
from msgspec import Struct

from penstock.client.client import Client
from penstock.contract.reply import Completed, Delta

__all__ = ["ResumedPart"]


class ResumedPart(Struct, frozen=True):
    """The part of the reply that the second process received."""

    pid: int
    events: int
    text: str
    completed: bool


async def _resume(url: str, account: str, owner: str, request_id: str, after_seq: int) -> ResumedPart:
    async with await Client.connect(url, account=account) as client:
        events = [event async for event in client.resume(request_id, client=owner, after_seq=after_seq)]
    return ResumedPart(
        pid=os.getpid(),
        events=len(events),
        text="".join(event.text for event in events if isinstance(event, Delta)),
        completed=bool(events) and isinstance(events[-1], Completed),
    )


if __name__ == "__main__":
    url, account, owner, request_id, after_seq = sys.argv[1:]
    part = asyncio.run(_resume(url, account, owner, request_id, int(after_seq)))
    sys.stdout.write(msgspec.json.encode(part).decode() + "\n")
