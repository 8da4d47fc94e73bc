"""Repeat an operation on NATS with exponential back-off until it succeeds or the timeout has passed.

docs/decisions/0022 says why this is not stamina.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import nats.errors
from msgspec import Struct
from nats.js.errors import APIError, NotFoundError

from penstock.bus.clock import loop_now_s
from penstock.bus.log_limits import rate_limited_logger

__all__ = ["RetryPolicy", "read_from_leader", "retry"]

_Result = TypeVar("_Result")
_log: Final = rate_limited_logger(__name__)
_ANSWER_TIMEOUT_S: Final = 2.0
"""Seconds until a request that was lost with its connection, or with the stream's leader, is sent again."""
_TRANSIENT: Final = (
    TimeoutError,
    nats.errors.NoRespondersError,
    nats.errors.OutboundBufferLimitError,
)


class RetryPolicy(Struct, frozen=True):
    """When an operation is repeated: after `first_wait_s`, then after twice the previous wait each time."""

    timeout_s: float = 20.0
    """Seconds after which the next failure is raised. The default is twice what a cluster needs to elect the leader of
    a stream (docs/decisions/0017)."""
    first_wait_s: float = 0.05
    longest_wait_s: float = 1.0


async def retry(
    operation: Callable[[], Awaitable[_Result]],
    *,
    on: tuple[type[Exception], ...],
    report: Callable[[Exception], None],
    policy: RetryPolicy = RetryPolicy(),  # noqa: B008 - frozen
    transient: Callable[[Exception], bool] | None = None,
) -> _Result:
    """The result of `operation`, repeated after each error of a type in `on` that `transient` accepts.

    `report` logs the error before each repetition. Raises the error itself when it is another one or after the
    timeout, which is counted on the loop's clock.
    """
    give_up_s = loop_now_s() + policy.timeout_s
    wait_s = policy.first_wait_s
    while True:
        try:
            return await operation()
        except on as error:
            if (transient is not None and not transient(error)) or loop_now_s() > give_up_s:
                raise
            report(error)
        await asyncio.sleep(wait_s)
        wait_s = min(2 * wait_s, policy.longest_wait_s)


async def read_from_leader(
    read: Callable[[], Awaitable[_Result]], what: str, *, timeout_s: float = RetryPolicy().timeout_s
) -> _Result | None:
    """The result of `read`, or None where JetStream answers "not found"; repeated while an election is in progress.

    `what` names the record in the log. Raises the last nats error or TimeoutError after the timeout, and any other
    error at once.
    """

    async def read_once() -> _Result | None:
        try:
            async with asyncio.timeout(_ANSWER_TIMEOUT_S):
                return await read()
        except NotFoundError:
            return None

    return await retry(
        read_once,
        on=(APIError, *_TRANSIENT),
        report=lambda error: _log.warning("%s cannot be read yet: %r", what, error),
        policy=RetryPolicy(timeout_s=timeout_s),
        transient=_is_transient,
    )


def _is_transient(error: Exception) -> bool:
    """A server that cannot answer now sends 5xx; nats-py sets no code when no server responded."""
    return not isinstance(error, APIError) or error.code is None or error.code >= 500
