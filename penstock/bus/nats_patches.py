"""What no client of NATS writes, and nats-server stores and delivers all the same: made harmless for this process.

nats-py (2.16) reads a message outside of any `try`, inside the loop that reads the connection. A header block such as
`junk`, a byte in a subject that is no UTF-8 or that its parser takes for a space ends that loop, and the socket
stays open, unread, until two pings went unanswered. As the message is delivered again after the reconnection, it
does so for ever. One publisher could so keep every process from working.
"""

from __future__ import annotations

import re
from typing import Final

import nats.protocol.parser
from nats.aio.client import Client as Nats
from nats.aio.msg import Msg
from nats.errors import ProtocolError
from nats.protocol.parser import Parser

from penstock.bus.log_limits import rate_limited_logger

__all__ = ["survive_hostile_bytes"]

_log: Final = rate_limited_logger(__name__)
_read: Final = Nats._process_headers  # noqa: SLF001 - there is no other place to catch it
_parse: Final = Parser.parse

_MSG: Final = re.compile(rb"\AMSG[ \t]+([^ \t\r\n]+)[ \t]+(\d+)[ \t]+(([^ \t\r\n]+)[ \t]+)?(\d+)\r\n")
_HMSG: Final = re.compile(
    rb"\AHMSG[ \t]+([^ \t\r\n]+)[ \t]+(\d+)[ \t]+(([^ \t\r\n]+)[ \t]+)?(\d+)[ \t]+(\d+)\r\n"
)
"""nats-py's own, with the server's idea of a space: vertical tab and form feed may stand in a subject."""


async def _headers_or_nothing(self: Nats, headers: bytes) -> dict[str, str] | None:
    try:
        read: dict[str, str] | None = await _read(self, headers)
    except (IndexError, UnicodeDecodeError) as error:
        _log.warning("a message with an unreadable header block: %r", error)
        return None
    return read


def _message(
    self: Nats, sid: int, subject: bytes, reply: bytes, data: bytes, headers: dict[str, str] | None
) -> Msg:
    """As nats-py's own, except that bytes which are no UTF-8 are written out, and judged like any other text."""
    return self.msg_class(
        subject=subject.decode(errors="backslashreplace"),
        reply=reply.decode(errors="backslashreplace"),
        data=data,
        headers=headers,
        _client=self,
        _sid=sid,
    )


async def _parse_or_reconnect(self: Parser, data: bytes = b"") -> None:
    """After a ProtocolError nats-py reconnects at once; after any other error it would leave the socket unread."""
    try:
        await _parse(self, data)
    except (ProtocolError, OSError):
        raise
    except Exception as error:
        _log.exception("what the server sent cannot be read; connecting again")
        raise ProtocolError from error


def survive_hostile_bytes() -> None:
    """From now on, for every connection of this process: unreadable headers count as none, a message with an
    unreadable subject arrives, and whatever cannot be read all the same is a lost connection.
    """
    nats.protocol.parser.MSG_RE = _MSG
    nats.protocol.parser.HMSG_RE = _HMSG
    Nats._process_headers = _headers_or_nothing  # type: ignore[method-assign]  # noqa: SLF001
    Nats._build_message = _message  # type: ignore[method-assign]  # noqa: SLF001
    Parser.parse = _parse_or_reconnect  # type: ignore[method-assign]
