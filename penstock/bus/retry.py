"""Repeat an operation on NATS with exponential back-off until it succeeds or the timeout has passed.

docs/decisions/0022 says why this is not stamina.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import nats.errors
from msgspec import Struct
from nats.js.errors import APIError, NotFoundError

from penstock.bus.clock import loop_now_s
from penstock.bus.freezes import AwakeTimeout, frozen_s
from penstock.bus.jetstream_errors import is_absent, is_full, is_passing
from penstock.bus.log_limits import rate_limited_logger

__all__ = ["RetryPolicy", "read_from_leader", "retry"]

_Result = TypeVar("_Result")
_random: Final = random.SystemRandom()
_log: Final = rate_limited_logger(__name__)
_ANSWER_TIMEOUT_S: Final = 2.0
"""Seconds until a request that was lost with its connection, or with the stream's leader, is sent again."""
_TRANSIENT: Final = (
    TimeoutError,
    nats.errors.NoRespondersError,
    nats.errors.OutboundBufferLimitError,
)


class RetryPolicy(Struct, frozen=True):
    """When an operation is repeated: after `first_wait_s`, then after twice the previous wait each time; each wait is
    shortened by up to half, at random.
    """

    timeout_s: float = 20.0
    """Seconds after which the next failure is raised. The default is twice what a cluster needs to elect the leader of
    a stream (docs/decisions/0017)."""
    first_wait_s: float = 0.05
    longest_wait_s: float = 1.0


def _jittered(wait_s: float) -> float:
    """Half of `wait_s` to all of it, so that processes that failed together do not try again together."""
    return wait_s * _random.uniform(0.5, 1.0)


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
    timeout, which is counted on the loop's clock, without the times in which this process was frozen.
    """
    began_s = loop_now_s()
    give_up_s = began_s + policy.timeout_s
    wait_s = policy.first_wait_s
    while True:
        try:
            return await operation()
        except on as error:
            if transient is not None and not transient(error):
                raise
            if loop_now_s() - frozen_s(began_s) > give_up_s:
                raise
            report(error)
        await asyncio.sleep(_jittered(wait_s))
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
            async with AwakeTimeout(_ANSWER_TIMEOUT_S):
                return await read()
        except NotFoundError as error:
            if error.err_code is not None and not is_absent(error):
                raise
            return None

    return await retry(
        read_once,
        on=(APIError, *_TRANSIENT),
        report=lambda error: _log.warning("%s cannot be read yet: %r", what, error),
        policy=RetryPolicy(timeout_s=timeout_s),
        transient=_is_transient,
    )


def _is_transient(error: Exception) -> bool:
    """Reading needs no space: "insufficient resources" is the answer of a server with too many requests."""
    return not isinstance(error, APIError) or is_passing(error) or is_full(error)
