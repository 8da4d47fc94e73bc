"""Looks up the host names of providers, so that a name server that is slow for one delays no other."""

from __future__ import annotations

import socket
from functools import partial
from typing import Any, Final

from aiohttp.abc import AbstractResolver, ResolveResult

from penstock.bus.freezes import AwakeTimeout
from penstock.runtime.aio import run_in_daemon_thread

__all__ = ["HostNames", "UnknownHost"]

_LONGEST_S: Final = 8.0
"""Limit of one lookup: the system asks a second name server only after 5 s (resolv.conf(5), `timeout`)."""
_NUMBERS: Final = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV


class UnknownHost(OSError):
    """A host name has no address, or none is known yet."""


class HostNames(AbstractResolver):
    """Each lookup has a thread of its own.

    The event loop's threads are few, joined at exit, and needed for other work: lookups without an answer would occupy
    all of them. A connector has one lookup of a name at a time, and keeps the result for seconds.
    """

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        try:
            async with AwakeTimeout(_LONGEST_S):
                return await run_in_daemon_thread(partial(_addresses, host, port, family))
        except TimeoutError:
            reason = f"no name server answered within {_LONGEST_S:g} s"
        except OSError as error:
            reason = error.strerror or str(error)
        raise UnknownHost(f"the host name {host} cannot be resolved: {reason}")

    async def close(self) -> None:
        pass


def _addresses(host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult]:
    found: list[ResolveResult] = []
    for kind, _, protocol, _, address in socket.getaddrinfo(
        host, port, family, socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
    ):
        numbers: Any = socket.getnameinfo(address, _NUMBERS)  # with the zone of a link-local address
        found.append(
            ResolveResult(
                hostname=host,
                host=numbers[0],
                port=int(numbers[1]),
                family=kind,
                proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
        )
    return found
