"""The leader's last word on what is stored, waited for while nobody leads: an election is no answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import nats.errors
from nats.js.errors import APIError, NotFoundError

from penstock.bus.clock import loop_now_s
from penstock.bus.log_limits import rate_limited_logger

__all__ = ["read_patiently"]

_Stored = TypeVar("_Stored")
_log: Final = rate_limited_logger(__name__)
_LOOK_AGAIN_S: Final = 0.05
_LONGEST_WAIT_S: Final = 1.0
_ANSWER_S: Final = 2.0
"""A question lost with its connection, or with the leader, is asked again after this."""
_PATIENCE_S: Final = 20.0
"""Twice what a cluster needs to elect the leader of a stream (docs/decisions/0017)."""
_PASSING: Final = (
    TimeoutError,
    nats.errors.NoRespondersError,
    nats.errors.OutboundBufferLimitError,
)


async def read_patiently(
    ask: Callable[[], Awaitable[_Stored]], what: str, *, patience_s: float = _PATIENCE_S
) -> _Stored | None:
    """What `ask` finds; None where JetStream says that there is none.

    Asked again while JetStream does not answer, or says that it cannot now. Raises the last nats error or TimeoutError
    when patience is over, and any other at once. `what` is for the log.
    """
    give_up_s = loop_now_s() + patience_s
    wait_s = _LOOK_AGAIN_S
    while True:
        try:
            async with asyncio.timeout(_ANSWER_S):
                return await ask()
        except NotFoundError:
            return None
        except (APIError, *_PASSING) as error:
            if not _passes(error) or loop_now_s() > give_up_s:
                raise
            _log.warning("%s cannot be read yet: %r", what, error)
        await asyncio.sleep(wait_s)
        wait_s = min(2 * wait_s, _LONGEST_WAIT_S)


def _passes(error: Exception) -> bool:
    """nats-py gives no code for what nobody answered; a server that cannot now says 5xx."""
    return not isinstance(error, APIError) or error.code is None or error.code >= 500
