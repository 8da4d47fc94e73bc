"""A DNS server on loopback, and processes that ask it instead of the system's."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

__all__ = ["asking", "name_server"]

_ADDRESS: Final = "127.0.0.53"
_HEADER_BYTES: Final = 12
_TYPE_A: Final = 1
_SERVFAIL, _NXDOMAIN = 2, 3


@asynccontextmanager
async def name_server() -> AsyncIterator[set[str]]:
    """Names below `here.test` are 127.0.0.1, those below `broken.test` a SERVFAIL, and others do not exist.

    Yields the domains whose names get no answer: none at first.
    """
    silent: set[str] = set()
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        server.bind((_ADDRESS, 53))
    except OSError as error:
        server.close()
        pytest.skip(f"a DNS server cannot be started here: {error}")
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: _Answers(silent), sock=server
    )
    try:
        yield silent
    finally:
        transport.close()


def asking(directory: Path) -> tuple[str, ...]:
    """A prefix for a command that asks the name server; skips the test where mounting is not permitted."""
    if os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"], check=False).returncode:
        pytest.skip("replacing /etc/resolv.conf for one process needs root")
    config = directory / "resolv.conf"
    config.write_text(f"nameserver {_ADDRESS}\n")
    script = f'mount --bind {config} /etc/resolv.conf && exec "$@"'
    return ("unshare", "-m", "sh", "-c", script, "sh")


class _Answers(asyncio.DatagramProtocol):
    def __init__(self, silent: set[str]) -> None:
        self._silent = silent

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        end = data.index(0, _HEADER_BYTES) + 5  # the name ends with an empty label; type and class follow
        name = _name(data[_HEADER_BYTES:end])
        if name.partition(".")[2] in self._silent:
            return
        is_address = int.from_bytes(data[end - 4 : end - 2]) == _TYPE_A
        code, records = _SERVFAIL if name.endswith(".broken.test") else _NXDOMAIN, b""
        if name.endswith(".here.test"):
            code = 0
            records = (
                b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x01\x00\x04" + bytes([127, 0, 0, 1])
                if is_address
                else b""
            )
        counts = bytes([0, 1, 0, 1 if records else 0, 0, 0, 0, 0])
        head = data[:2] + bytes([0x81, 0x80 | code]) + counts
        self._transport.sendto(head + data[_HEADER_BYTES:end] + records, addr)


def _name(question: bytes) -> str:
    labels, at = [], 0
    while length := question[at]:
        labels.append(question[at + 1 : at + 1 + length].decode())
        at += length + 1
    return ".".join(labels)
