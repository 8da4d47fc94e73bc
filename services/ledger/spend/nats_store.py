"""The spend history in JetStream, and the question to the owners of its newest part."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec
import nats.errors
from nats.aio.client import Client as Nats

from penstock.bus.direct_get import read_last, stream_position
from penstock.bus.log_limits import rate_limited_logger
from penstock.contract import subjects
from penstock.contract.codec import RECENT_SPEND, encode
from penstock.contract.ledger.spend import RecentSpend, SpendQuery
from penstock.contract.ledger.spend_address import SpendAddress, spend_address
from penstock.contract.streams import SPEND_DAYS, SPEND_HOURS, SPEND_MONTHS
from services.ledger.spend.grouping import Grain

__all__ = ["NatsHistory", "NatsOwners", "warn_when_nearly_full"]

_log: Final = rate_limited_logger(__name__, by="text")
_STREAMS: Final = {"hour": SPEND_HOURS.name, "day": SPEND_DAYS.name, "month": SPEND_MONTHS.name}
_NEARLY_FULL: Final = 0.8
_TIMEOUT_S: Final = 5.0
_OWNER_TIMEOUT_S: Final = 1.0


class NatsHistory:
    """A `HistoryStore`. Writes have no message id: the server would drop a rewritten part as a duplicate of a deleted
    one.
    """

    def __init__(self, nc: Nats) -> None:
        self._nc = nc
        self._js = nc.jetstream(timeout=_TIMEOUT_S)

    async def subjects(self, grain: Grain, partition: str) -> Sequence[SpendAddress]:
        wanted = subjects.spend_of(grain, None, partition)
        info = await self._js.stream_info(_STREAMS[grain], subjects_filter=wanted)
        found = map(spend_address, info.state.subjects or {})
        return [address for address in found if address is not None]

    async def read(self, addresses: Sequence[SpendAddress]) -> dict[SpendAddress, bytes]:
        by_subject = {address.subject: address for address in addresses}
        by_stream: dict[str, list[str]] = {}
        for subject, address in by_subject.items():
            by_stream.setdefault(_STREAMS[address.grain], []).append(subject)
        return {
            by_subject[(message.headers or {})["Nats-Subject"]]: message.data
            for stream, wanted in by_stream.items()
            for message in await read_last(self._nc, stream, wanted)
        }

    async def write(self, address: SpendAddress, data: bytes) -> None:
        await self._js.publish(address.subject, data, timeout=_TIMEOUT_S)

    async def delete(self, address: SpendAddress) -> None:
        await self._js.purge_stream(_STREAMS[address.grain], subject=address.subject)


async def warn_when_nearly_full(nc: Nats) -> None:
    """Log a warning for each stream of the history that soon deletes its oldest spend. Raises nats.errors.Error or
    TimeoutError.
    """
    for stream in _STREAMS.values():
        fill = (await stream_position(nc, stream)).fill
        if fill >= _NEARLY_FULL:
            _log.warning(
                "%s is %d%% full: soon it deletes its oldest spend; raise PENSTOCK_STORE_SCALE, or export it",
                *(stream, 100 * fill),
            )


class NatsOwners:
    """Asks the owners of partitions over NATS."""

    def __init__(self, nc: Nats) -> None:
        self._nc = nc

    async def recent(self, partitions: Iterable[str], query: SpendQuery | None) -> Mapping[str, RecentSpend]:
        """Without the partitions whose owner does not answer, or not as agreed, within a second. `query` None: every
        row.
        """
        asked = list(partitions)
        answers = await asyncio.gather(*(self._ask(partition, query) for partition in asked))
        return {
            partition: answer for partition, answer in zip(asked, answers, strict=True) if answer is not None
        }

    async def _ask(self, partition: str, query: SpendQuery | None) -> RecentSpend | None:
        try:
            message = await self._nc.request(
                subjects.ledger_recent(partition),
                b"" if query is None else encode(query),
                timeout=_OWNER_TIMEOUT_S,
            )
            return RECENT_SPEND.decode(message.data)
        except (nats.errors.NoRespondersError, nats.errors.TimeoutError, msgspec.DecodeError):
            return None
