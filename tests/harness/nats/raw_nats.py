"""NATS by its wire protocol: publishes messages that client libraries reject, reads JetStream's acknowledgements."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct

__all__ = ["RawMessage", "RawNats"]

_CONNECT = b'CONNECT {"verbose":false,"pedantic":false,"headers":true,"no_responders":true,"protocol":1}\r\n'
_TIMEOUT_S = 20.0


class RawMessage(Struct, frozen=True):
    subject: str
    """A byte that is not valid UTF-8 is written as its surrogate escape: 0xff is `\\udcff`."""
    payload: bytes
    block: bytes | None = None
    """The header block as it goes on the wire, version line and blank line included."""


class RawNats:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._rounds = 0

    @classmethod
    @asynccontextmanager
    async def opened(cls, url: str) -> AsyncIterator[RawNats]:
        address = urlsplit(url)
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        try:
            await reader.readline()  # INFO
            writer.write(_CONNECT + b"SUB acks.*.* 1\r\n")
            yield cls(reader, writer)
        finally:
            writer.close()
            await writer.wait_closed()

    async def publish(self, messages: Sequence[RawMessage]) -> list[dict[str, Any]]:
        """Publish all at once; returns JetStream's answer to each, {} where no stream stored it."""
        self._rounds += 1
        for number, message in enumerate(messages):
            reply = f"acks.{self._rounds}.{number}"
            block = message.block
            if block is None:
                head = f"PUB {message.subject} {reply} {len(message.payload)}\r\n".encode(
                    errors="surrogateescape"
                )
            else:
                size = len(block) + len(message.payload)
                head = f"HPUB {message.subject} {reply} {len(block)} {size}\r\n".encode(
                    errors="surrogateescape"
                )
            self._writer.write(head + (block or b"") + message.payload + b"\r\n")
        await self._writer.drain()
        answers: dict[int, dict[str, Any]] = {}
        async with asyncio.timeout(_TIMEOUT_S):
            while len(answers) < len(messages):
                number, answer = await self._answer()
                answers[number] = answer
        return [answers[number] for number in range(len(messages))]

    async def _answer(self) -> tuple[int, dict[str, Any]]:
        while True:
            fields = (await self._reader.readline()).split()
            if fields[:1] == [b"PING"]:
                self._writer.write(b"PONG\r\n")
            elif fields[:1] in ([b"MSG"], [b"HMSG"]):
                data = await self._reader.readexactly(int(fields[-1]) + 2)
                number = int(fields[1].rpartition(b".")[2])
                return number, json.loads(data) if fields[0] == b"MSG" else {}
            else:
                assert not fields or fields[0] in {b"INFO", b"PONG", b"+OK"}, b" ".join(fields)
