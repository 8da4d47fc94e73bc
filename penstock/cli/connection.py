"""The connection of a command to the running system: settings, tracer, client."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TypeVar

import nats.errors
from nats.aio.client import Client as Nats
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.errors import APIError, NotFoundError, ServiceUnavailableError

from penstock.bus.clock import ServerTime
from penstock.bus.connection import ConnectionEvents, connect
from penstock.bus.direct_get import read_server_time
from penstock.bus.ids import instance_name
from penstock.bus.masking import without_userinfo
from penstock.cli.errors import CommandError
from penstock.cli.local.directory_lock import is_locked
from penstock.cli.program_name import as_invoked, command_name
from penstock.client.client import Client
from penstock.contract.headers import ERROR
from penstock.contract.streams import REQUESTS, STREAMS
from penstock.errors import StoreUnavailable
from penstock.runtime.config.settings import Settings, load_settings
from penstock.runtime.heartbeat import read_presence
from penstock.runtime.runtime_file import DEFAULT_DATA, client_environment, read_runtime_file
from penstock.runtime.telemetry.setup import make_tracer

__all__ = [
    "check_answer",
    "check_before_request",
    "check_provisioned",
    "command_settings",
    "is_starting",
    "open_client",
    "open_connection",
    "read_server_clock",
    "with_client",
]

_SERVICE = "penstock-client"
_Result = TypeVar("_Result")


def command_settings(data: Path) -> Settings:
    """The settings with the address of the system that runs in `data`. The default address is noted on stderr.

    Raises ConfigurationRefused, and CommandError where no system runs in a directory that was named: the default
    address may be that of another system.
    """
    running = read_runtime_file(data)
    starting = is_starting(data)
    if running is None and data != DEFAULT_DATA and not os.environ.get("NATS_URL"):
        if starting:
            raise CommandError(f"`penstock up` is starting or stopping in {data}; try again when it is up")
        raise CommandError(
            f"no `penstock up` runs with --data {data}; omit --data, or set NATS_URL to the address of the system"
        )
    settings = load_settings(client_environment(os.environ, running))
    if running is None and not os.environ.get("NATS_URL"):
        why = "`penstock up` is starting or stopping" if starting else "no `penstock up` runs"
        note = f"[using the default address {settings.nats_url}: {why} in {data}]"
        print(as_invoked(note), file=sys.stderr, flush=True)
    return settings


def is_starting(data: Path) -> bool:
    """Whether a `penstock up` holds the lock of `data` and its addresses are not in the runtime file: it is starting or
    stopping. False if NATS_URL is set. Raises ConfigurationRefused.
    """
    return not os.environ.get("NATS_URL") and read_runtime_file(data) is None and is_locked(data)


@asynccontextmanager
async def open_connection(settings: Settings, name: str) -> AsyncIterator[Nats]:
    """A NATS connection. Raises BrokerUnreachable; a later NATS error, or a lack of JetStream, is a CommandError."""
    connection_events = ConnectionEvents(settings.nats_url)
    nc = await connect(settings.nats_url, name=name, events=connection_events, auth=settings.nats_auth)
    where = without_userinfo(settings.nats_url)
    try:
        yield nc
    except ServiceUnavailableError as error:
        if error.err_code is not None:
            raise _nats_error(where, error) from error
        raise CommandError(f"the NATS server at {where} has no JetStream; start it with -js") from error
    except (nats.errors.Error, APIError) as error:
        raise _nats_error(where, error) from error
    finally:
        connection_events.closing = True
        await nc.close()


def _nats_error(where: str, error: Exception) -> CommandError:
    return CommandError(f"NATS at {where} reports an error: {str(error) or type(error).__name__}")


@asynccontextmanager
async def open_client(settings: Settings) -> AsyncIterator[Client]:
    """A client whose spans belong to the trace of its requests. Raises BrokerUnreachable, and CommandError where the
    server lacks streams or JetStream.
    """
    tracer = make_tracer(settings, service=_SERVICE, instance=instance_name("client"))
    try:
        async with await Client.connect(
            settings.nats_url, account=settings.account, auth=settings.nats_auth, tracer=tracer
        ) as client:
            yield client
    except StoreUnavailable:
        async with open_connection(settings, _SERVICE) as nc:
            await check_provisioned(nc, settings)
        raise
    finally:
        await asyncio.to_thread(tracer.close)


def with_client(data: Path, call: Callable[[Client], Awaitable[_Result]]) -> _Result:
    """Make one call with a client of the running system."""
    settings = command_settings(data)

    async def connected() -> _Result:
        async with open_client(settings) as client:
            return await call(client)

    return asyncio.run(connected())


async def check_before_request(settings: Settings) -> str | None:
    """A warning when no router is alive, else None.

    Raises CommandError when the server cannot store the request: the client would retry until its deadline.
    """
    async with open_connection(settings, "penstock-ask") as nc:
        await check_provisioned(nc, settings)
        if any(presence.service == "router" for presence in await read_presence(nc)):
            return None
    return f"No router is alive: the request waits until one starts ({command_name()} status)."


def check_answer(msg: Msg) -> None:
    """Raises CommandError with the reason if a ledger says why it cannot answer."""
    reason = (msg.headers or {}).get(ERROR)
    if reason is not None:
        raise CommandError(f"the ledger cannot answer: {reason}")


async def check_provisioned(nc: Nats, settings: Settings) -> None:
    """Raises CommandError with the names of the streams that the server lacks."""
    js = nc.jetstream()
    missing = [stream.name for stream in STREAMS if not await _exists(js, stream.name)]
    if not missing:
        return
    where = without_userinfo(settings.nats_url)
    if len(missing) == len(STREAMS):
        raise CommandError(
            f"a NATS server answers at {where}, but Penstock has never been started there; "
            "start it with `penstock up`, or set NATS_URL"
        )
    raise CommandError(
        f"Penstock is not completely set up on the NATS server at {where}: missing {', '.join(missing)}; "
        "the log of the router, or `penstock up`, gives the reason"
    )


async def _exists(js: JetStreamContext, stream: str) -> bool:
    try:
        await js.stream_info(stream)
    except NotFoundError:
        return False
    return True


async def read_server_clock(nc: Nats) -> ServerTime:
    """By one reading; by the clock of this machine where the streams do not exist yet or do not answer."""
    server_time = ServerTime()
    with suppress(nats.errors.Error, TimeoutError):
        await read_server_time(nc, server_time, REQUESTS.name)
    return server_time
