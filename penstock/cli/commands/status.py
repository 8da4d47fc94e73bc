"""`penstock status`: live services, mailboxes, limits, breakers, dead letters."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from nats.js import JetStreamContext
from nats.js.api import StreamState
from nats.js.errors import NotFoundError, ServiceUnavailableError

from penstock.bus.masking import without_userinfo
from penstock.cli.connection import command_settings, is_starting, open_connection, read_server_clock
from penstock.cli.known_catalogue import known_catalogue
from penstock.cli.render.status import status_text
from penstock.cli.render.terminal_safe import as_ascii_json
from penstock.cli.system_status import StreamCounts, SystemStatus, fold_status, without_idle_models
from penstock.contract.streams import BODIES, DEAD, REQUESTS, WORK, StreamSpec
from penstock.runtime.config.catalogue import Catalogue
from penstock.runtime.config.settings import Settings
from penstock.runtime.heartbeat import read_presence

__all__ = ["status"]

_ALL = ">"
_EMPTY = StreamState(messages=0, bytes=0, first_seq=0, last_seq=0, consumer_count=0)


def status(data: Path, *, as_json: bool, with_idle: bool = False) -> int:
    """Exit code 1 when no service is alive. `with_idle`: also implicit roles without work.

    Raises BrokerUnreachable, ConfigurationRefused and CommandError.
    """
    catalogue = known_catalogue(data)
    needed = _needed(catalogue)
    starting = is_starting(data)
    found = asyncio.run(_read_status(command_settings(data), needed, starting=starting))
    if not with_idle:
        found = without_idle_models(found)
    if as_json:
        print(as_ascii_json(found))
    else:
        print(status_text(found))
    return 0 if any(service.alive for service in found.services) else 1


def _needed(catalogue: Catalogue | None) -> list[str]:
    """The services without which requests fail; none where the catalogue is not known."""
    if catalogue is None:
        return []
    sections = {"ledger": catalogue.budgets, "guard": catalogue.guard, "indexer": catalogue.retrieval}
    return [service for service, section in sections.items() if section is not None]


async def _read_status(settings: Settings, needed: Sequence[str], *, starting: bool) -> SystemStatus:
    async with open_connection(settings, "penstock-status") as nc:
        js = nc.jetstream()
        bodies = await _state(js, BODIES.name)
        streams = StreamCounts(
            waiting_for_router=sum((await _messages(js, REQUESTS)).values()),
            work=await _messages(js, WORK),
            dead=sum((await _messages(js, DEAD)).values()),
            large_bodies=len({subject.rpartition(".")[0] for subject in bodies.subjects or {}}),
            large_bodies_bytes=bodies.bytes,
        )
        alive = await read_presence(nc)
        now_ms = (await read_server_clock(nc)).unix_ms()
    nats = without_userinfo(settings.nats_url)
    return fold_status(nats, alive, streams, now_ms, needed, starting=starting)


async def _messages(js: JetStreamContext, stream: StreamSpec) -> dict[str, int]:
    """Subject -> messages, without a message of the write probe."""
    counts = dict((await _state(js, stream.name)).subjects or {})
    counts.pop(stream.probe_subject, None)
    return counts


async def _state(js: JetStreamContext, stream: str) -> StreamState:
    """Empty where the stream does not exist yet, or a cluster has no leader."""
    try:
        return (await js.stream_info(stream, subjects_filter=_ALL)).state
    except NotFoundError:
        return _EMPTY
    except ServiceUnavailableError as error:
        if error.err_code is None:  # no JetStream
            raise
        return _EMPTY
