"""How would this be routed? The same decision by request/reply; nothing is stored or spent."""

from __future__ import annotations

from faststream.nats import NatsBroker, NatsMessage

from penstock.clock import Clock
from penstock.config.catalogue import Catalogue
from schemas import subjects
from schemas.codec import encode
from schemas.errors import ERRORS
from schemas.explain import RoutingExplained
from schemas.reply import Failed, Failure
from services.router.intake import Arrival, Refused, judge
from services.router.liveness import Liveness

__all__ = ["register_explain"]


def register_explain(broker: NatsBroker, catalogue: Catalogue, liveness: Liveness, clock: Clock) -> None:
    """Answer `ChatRequest` on `llm.router.explain` with `RoutingExplained`, or `Failed` for a refusal."""

    @broker.subscriber(subjects.EXPLAIN, queue="router", title="explain", decoder=_undecoded)
    async def explain(message: NatsMessage) -> bytes:
        arrival = Arrival(
            subject=subjects.request("explain", "chat"),
            data=message.raw_message.data,
            headers={},
            stored_ms=clock.unix_ms(),
        )
        outcome = judge(arrival, catalogue, liveness.served(clock.monotonic_s()), clock.unix_ms())
        if isinstance(outcome, Refused):
            retry = ERRORS[outcome.code].retry
            failure = Failure(code=outcome.code, message=outcome.message, retry=retry)
            return encode(Failed(id="", seq=0, error=failure))
        work = outcome.work
        chain = catalogue.roles[work.role].chain
        return encode(RoutingExplained(role=work.role, complexity=work.complexity, why=work.why, chain=chain))


async def _undecoded(message: NatsMessage) -> bytes:
    """FastStream's own decoder raises on what is nested too deeply, and nobody would be answered."""
    return message.body
