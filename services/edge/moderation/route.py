"""`POST /v1/moderations`: each input becomes a check of the guard, to which no policy is applied."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from penstock.bus.trace_names import ACCOUNT, REQUEST_ID, SPAN_GUARD
from penstock.bus.tracing import Tracer
from penstock.contract.guard.checks import CheckedText, GuardCheck, GuardVerdict
from penstock.contract.guard.policies import HAZARD_DETECTORS, LOCAL_DETECTORS, DetectorName
from penstock.contract.headers import TRACEPARENT
from penstock.runtime.aio import cancel_and_wait
from penstock.runtime.body_work import in_thread_if_large
from penstock.runtime.config.guard import Guard
from penstock.runtime.guard.client import GuardClient, GuardUnreachable
from services.edge.auth.authenticator import Authenticator
from services.edge.auth.identity import Identity
from services.edge.http.errors import HttpError
from services.edge.http.exchange import Exchange
from services.edge.listing.target import Target
from services.edge.moderation.request import read_inputs
from services.edge.moderation.result import moderation, unrated

__all__ = ["ModerationRoute"]

_AT_ONCE: Final = 8
"""Checks of one request at once: one request must not occupy all calls of a guard to its safety model."""
_RETRY_S: Final = 5.0


class ModerationRoute:
    def __init__(
        self, guard: Guard | None, client: GuardClient, authenticator: Authenticator, tracer: Tracer
    ) -> None:
        """`guard`: the section of the catalogue; None: there is none."""
        self._guard = guard
        self._client = client
        self._authenticator = authenticator
        self._tracer = tracer

    async def __call__(self, exchange: Exchange) -> None:
        identity = self._authenticator.authenticate(exchange)
        guard, hazards = self._configured(exchange.path)
        if "safety_model" in hazards:
            safety = Target(role=guard.detectors.safety_model.role)
            self._authenticator.authorize(identity, safety, f"the safety model of {exchange.path}")
        inputs = await in_thread_if_large(read_inputs, await exchange.body())
        request_id = exchange.request_id
        checks = [_check(request_id, identity, texts, (*LOCAL_DETECTORS, *hazards)) for texts in inputs]
        async with exchange.interruptible():
            verdicts = await self._traced(checks, guard.wait_s, exchange.header(b"traceparent") or None)
        missing = unrated(verdicts, hazards)
        if missing:
            raise _unavailable(f"the safety guard could not rate every text ({missing})")
        await exchange.respond(200, msgspec.json.encode(moderation(request_id, verdicts)))

    def _configured(self, path: str) -> tuple[Guard, Sequence[DetectorName]]:
        """The section, and its detectors of hazards. Raises HttpError (501)."""
        if self._guard is None:
            message = f"{path} needs the safety guard, and the catalogue has no section guard"
            raise HttpError.of("not_implemented", message)
        detectors = self._guard.detectors
        hazards = [name for name in HAZARD_DETECTORS if getattr(detectors, name).enabled]
        if not hazards:
            # Without them every text would count as harmless.
            message = (
                f"{path} needs a detector of harmful content: enable safety_model or openai_moderation in "
                "guard.detectors of the catalogue"
            )
            raise HttpError.of("not_implemented", message)
        return self._guard, hazards

    async def _traced(
        self, checks: Sequence[GuardCheck], wait_s: float, parent: str | None
    ) -> list[GuardVerdict]:
        """As `_verdicts`. `parent`: the `traceparent` of the caller, which may be anything."""
        attributes = {ACCOUNT: checks[0].account, REQUEST_ID: checks[0].id}
        span = self._tracer.start(SPAN_GUARD, "client", parent=parent, attributes={**attributes})
        outcome: str | None = "cancelled"
        try:
            trace = None if span.traceparent is None else {TRACEPARENT: span.traceparent}
            verdicts = await self._verdicts(checks, wait_s, trace)
            outcome = None
        except HttpError as error:
            outcome = error.code
            raise
        finally:
            span.end(error=outcome)
        return verdicts

    async def _verdicts(
        self, checks: Sequence[GuardCheck], wait_s: float, trace: Mapping[str, str] | None
    ) -> list[GuardVerdict]:
        """In the order of `checks`. Raises HttpError (503)."""
        slots = asyncio.Semaphore(_AT_ONCE)

        async def verdict(check: GuardCheck) -> GuardVerdict:
            async with slots:
                return await self._client.check(check, wait_s, trace)

        running = [asyncio.create_task(verdict(check)) for check in checks]
        try:
            return await asyncio.gather(*running)
        except GuardUnreachable as unreachable:
            raise _unavailable(f"the safety guard does not answer ({unreachable})") from unreachable
        finally:
            await cancel_and_wait(*running)


def _check(
    request_id: str, identity: Identity, texts: Sequence[str], detectors: tuple[DetectorName, ...]
) -> GuardCheck:
    return GuardCheck(
        id=request_id,
        account=identity.account,
        user=identity.user,
        texts=tuple(CheckedText(text=text) for text in texts),
        detectors=detectors,
        apply_policy=False,
    )


def _unavailable(why: str) -> HttpError:
    return HttpError.of("guard_unavailable", f"{why}: send the request again", retry_after_s=_RETRY_S)
