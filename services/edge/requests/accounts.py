"""The accounts that use this process: one reply subscription each, all over the connection of the process."""

from __future__ import annotations

import asyncio
from typing import Final

from penstock.bus.clock import Clock
from penstock.bus.tracing import Tracer
from penstock.client.client import Client
from penstock.client.jobs import JobReader
from penstock.client.stream import StreamedRequest
from penstock.client.submit import Request, encode_request, submit
from penstock.client.subscription import ReplySubscription
from penstock.client.timings import ClientTimings
from penstock.runtime.service import Bus
from services.edge.requests.lookup import AnswerLookup
from services.edge.requests.submission_times import SUBMIT_S

__all__ = ["Account", "Accounts"]

_TIMINGS: Final = ClientTimings(accept_s=60.0)


class Account:
    """Submits the requests of one account and reads their replies."""

    def __init__(self, bus: Bus, subscription: ReplySubscription, tracer: Tracer, clock: Clock) -> None:
        """`clock`: that of the NATS server."""
        self._bus = bus
        self._subscription = subscription
        self._tracer = tracer
        self.clock = clock
        self.name = subscription.account
        self.client = Client(bus.nc, subscription, tracer, _TIMINGS)
        """Resumes and cancels requests."""
        self.jobs = JobReader(bus.nc, subscription.account)
        self.answers = AnswerLookup(bus.nc, subscription.account, clock)

    def stream(
        self, request: Request, timeout_s: float | None, *, cancel_on_exit: bool, parent: str | None
    ) -> StreamedRequest:
        """The request, to be sent by a `Stream`. `parent` is the `traceparent` of the caller.

        NATS stores it within 20 s and a router accepts it within `accept_s`, or both within `timeout_s` where that is
        shorter.
        """
        return StreamedRequest(
            nc=self._bus.nc,
            subscription=self._subscription,
            request=request,
            timeout_s=_TIMINGS.accept_s if timeout_s is None else min(timeout_s, _TIMINGS.accept_s),
            timings=_TIMINGS,
            tracer=self._tracer,
            cancel_on_exit=cancel_on_exit,
            submit_s=SUBMIT_S,
            parent=parent,
        )

    async def resubmit(self, request: Request) -> None:
        """Submit a request that another process may have submitted; it is stored once. Raises as `Stream` does."""
        await submit(
            self._bus.nc,
            self._subscription.account,
            await encode_request(self._bus.nc, request),
            timeout_s=SUBMIT_S,
            repeated=True,
        )


class Accounts:
    """Opens the subscription of an account at its first request."""

    def __init__(self, bus: Bus, client_name: str, tracer: Tracer, clock: Clock) -> None:
        """`clock`: that of the NATS server."""
        self._bus = bus
        self._tracer = tracer
        self._clock = clock
        self._accounts: dict[str, Account] = {}
        self._opening = asyncio.Lock()
        self.client_name = client_name

    async def get(self, account: str) -> Account:
        return self._accounts.get(account) or await self._open(account)

    async def _open(self, account: str) -> Account:
        async with self._opening:
            if account not in self._accounts:
                subscription = ReplySubscription(
                    self._bus.nc, self._bus.connection_events, account, self.client_name
                )
                await subscription.open()
                self._accounts[account] = Account(self._bus, subscription, self._tracer, self._clock)
            return self._accounts[account]
