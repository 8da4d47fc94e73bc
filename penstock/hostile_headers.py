"""Header blocks that no client writes and that nats-server stores all the same.

nats-py (2.16) reads them outside of any `try`, inside the loop that reads the connection: a block such as `junk` ends
the connection, and as the message is delivered again after the reconnection, it does so for ever. One publisher could
so keep every router from working.
"""

from __future__ import annotations

import logging
from typing import Final

from nats.aio.client import Client as Nats

__all__ = ["survive_hostile_headers"]

_log: Final = logging.getLogger(__name__)
_read: Final = Nats._process_headers  # noqa: SLF001 - there is no other place to catch it


async def _read_or_nothing(self: Nats, headers: bytes) -> dict[str, str] | None:
    try:
        read: dict[str, str] | None = await _read(self, headers)
    except (IndexError, UnicodeDecodeError) as error:
        _log.warning("a message with an unreadable header block: %r", error)
        return None
    return read


def survive_hostile_headers() -> None:
    """From now on, for every connection of this process, an unreadable header block counts as none."""
    Nats._process_headers = _read_or_nothing  # type: ignore[method-assign]  # noqa: SLF001
