"""Searches by the indexer, asked by request/reply."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

import nats.errors
from msgspec.structs import replace
from nats.aio.client import Client as Nats

from penstock.bus.clock import loop_now_s
from penstock.bus.freezes import extended_s, frozen_s
from penstock.bus.log_limits import rate_limited_logger
from penstock.contract import codec
from penstock.contract.retrieval import subjects
from penstock.contract.retrieval.search import SearchAnswer, SearchFailed, SearchRequest
from penstock.runtime.aio import cancel_and_wait
from penstock.runtime.request_refused import RequestRefused

__all__ = ["SearchClient", "SearchRefused"]

_log: Final = rate_limited_logger(__name__)
_FIRST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 0.5
"""Seconds between two tries while no indexer is subscribed, doubled from the first to the longest."""
_TRIES: Final = 3
"""How often a search is sent in its time while none is answered: the queue group may contain an indexer that is
silent."""
_OPTIONAL_ABSENT_S: Final = 0.5
"""Seconds for which a search that is not required waits for an indexer to subscribe."""
_OPTIONAL_SILENT_S: Final = 1.5
"""Seconds for which a search that is not required waits, once one had no answer in its whole time."""
_RETRY_S: Final = 2.0


class SearchRefused(RequestRefused):
    """There is no answer to a search."""


class SearchClient:
    """Asks any indexer, again while none is subscribed or one is silent."""

    def __init__(self, nc: Nats, wait_s: float) -> None:
        """`wait_s`: the longest time that a search takes."""
        self._nc = nc
        self._wait_s = wait_s
        self._silent = False
        """The last search had no answer in its whole time."""

    async def search(
        self,
        account: str,
        request: SearchRequest,
        trace: Mapping[str, str] | None = None,
        *,
        required: bool = True,
    ) -> SearchAnswer:
        """Raises SearchRefused. `trace`: headers that carry the trace of the request; `required`: False gives up soon
        while no indexer is running.
        """
        began_s = loop_now_s()
        wait_s = self._wait_s if required or not self._silent else min(self._wait_s, _OPTIONAL_SILENT_S)
        absent_s = wait_s if required else min(wait_s, _OPTIONAL_ABSENT_S)
        until_s, pause_s = began_s + wait_s, _FIRST_PAUSE_S
        while True:
            try:
                data = await self._asked(account, request, until_s, dict(trace) if trace else None)
            except nats.errors.NoRespondersError as error:
                if loop_now_s() + pause_s - frozen_s(began_s) >= began_s + absent_s:
                    raise _unavailable("no indexer is running") from error
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            except (TimeoutError, nats.errors.TimeoutError) as error:
                self._silent = True
                raise _unavailable(f"no indexer answered within {wait_s:g} s") from error
            except nats.errors.MaxPayloadError as error:
                raise SearchRefused("invalid_request", "the search is larger than NATS accepts") from error
            except nats.errors.Error as error:
                raise _unavailable(f"the search could not be sent ({type(error).__name__})") from error
            else:
                self._silent = False
                return _answer(data)

    async def _asked(
        self, account: str, request: SearchRequest, until_s: float, headers: dict[str, str] | None
    ) -> bytes:
        """The first answer, of as many tries as the time allows while none comes."""
        tries: set[asyncio.Task[bytes]] = set()
        began_s = loop_now_s()
        again_s = max(0.0, until_s - began_s) / _TRIES
        try:
            while True:
                left_s = extended_s(until_s, began_s) - loop_now_s()
                if left_s > 0 and len(tries) < _TRIES:
                    payload = codec.encode(replace(request, timeout_s=round(left_s, 3)))
                    tries.add(asyncio.create_task(self._ask(account, payload, left_s, headers)))
                done, _ = await asyncio.wait(
                    tries, timeout=min(again_s, max(left_s, 0.0)), return_when=asyncio.FIRST_COMPLETED
                )
                if done:
                    return done.pop().result()
                if left_s <= 0:
                    raise TimeoutError
        finally:
            await cancel_and_wait(*tries)

    async def _ask(
        self, account: str, payload: bytes, timeout_s: float, headers: dict[str, str] | None
    ) -> bytes:
        message = await self._nc.request(
            subjects.search(account), payload, timeout=timeout_s, headers=headers
        )
        return message.data


def _answer(data: bytes) -> SearchAnswer:
    try:
        answer = codec.SEARCH_ANSWER.decode(data)
    except codec.INVALID as error:
        _log.warning("the answer of an indexer cannot be read: %s", error)
        raise _unavailable("the answer of the indexer cannot be read") from error
    if isinstance(answer, SearchFailed):
        raise SearchRefused(answer.code, answer.message, answer.retry_after_s)
    return answer


def _unavailable(why: str) -> SearchRefused:
    return SearchRefused("retrieval_unavailable", f"the search was not made: {why}", _RETRY_S)
