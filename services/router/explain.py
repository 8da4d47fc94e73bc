"""How would this be routed? The same decision by request/reply; nothing is stored or spent."""

from __future__ import annotations

from math import inf
from typing import Final

import msgspec
from faststream.nats import NatsBroker, NatsMessage

from penstock.bus.clock import Clock
from penstock.contract import subjects
from penstock.contract.codec import encode
from penstock.contract.explain import Asker, DrawnStep, RoutingExplained
from penstock.contract.reply import Failed
from penstock.contract.work import ChatWork
from penstock.runtime.config.catalogue import Catalogue
from penstock.runtime.model_chain import needs_of, order, shortfall
from services.router.admission.controller import Foreseen
from services.router.admission.gate import Entrance
from services.router.routing.decide import Refused, Routed, judge
from services.router.routing.inbound import Arrival
from services.router.termination import failure_of
from services.router.workers.tracker import Liveness

__all__ = ["account_of", "explained", "register_explain"]

_asker: Final = msgspec.json.Decoder(Asker)
_SHORTFALLS: Final = {
    "context": "too long for every model of the role",
    "vision": "no model of the role reads images",
}


def register_explain(
    broker: NatsBroker, catalogue: Catalogue, liveness: Liveness, entrance: Entrance, clock: Clock
) -> None:
    """Answer `ChatRequest` on `llm.router.explain` with `RoutingExplained`, or with the `Failed` it would meet now.

    Whether there is room for the status of one more job is not asked: that is found out by writing it.
    """

    @broker.subscriber(subjects.EXPLAIN, queue="router", title="explain", decoder=_undecoded)
    async def explain(message: NatsMessage) -> bytes:
        outcome = _judge(message.raw_message.data, catalogue, liveness, clock)
        foreseen = Foreseen(0.0, None)
        if isinstance(outcome, Routed):
            outcome, foreseen = await entrance.look(outcome)
        if isinstance(outcome, Refused):
            failure = failure_of(outcome.code, outcome.message, outcome.retry_after_s)
            return encode(Failed(id="", seq=0, error=failure))
        return encode(explained(outcome.work, catalogue, foreseen.wait_s))


def _judge(data: bytes, catalogue: Catalogue, liveness: Liveness, clock: Clock) -> Routed | Refused:
    account = account_of(data)
    arrival = Arrival(
        subject=subjects.request(account or Asker().account, "chat"),
        data=data,
        headers={},
        stored_ms=clock.unix_ms(),
    )
    outcome = judge(arrival, catalogue, liveness.served(clock.monotonic_s()), clock.unix_ms())
    if isinstance(outcome, Routed) and account is None:
        return Refused(
            code="invalid_request",
            message="account must be 1 to 64 characters of A-Z a-z 0-9 _ -",
            reply_to=outcome.work.reply_to,
        )
    return outcome


def account_of(data: bytes) -> str | None:
    """For whom the question asks; None: that is not readable, or no account is called so."""
    try:
        account = _asker.decode(data).account
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return account if subjects.is_token(account) else None


def explained(work: ChatWork, catalogue: Catalogue, wait_s: float = 0.0) -> RoutingExplained:
    """The models as a worker would order them for this work, were all of them free; none where none can serve it."""
    role = catalogue.roles[work.role]
    needs = needs_of(work.estimated_tokens, vision=work.vision)
    why = work.why
    if (lacks := shortfall(role, catalogue.models, needs)) is not None:
        why += f"; {_SHORTFALLS[lacks]}"
    chain = order(role, catalogue.models, work.complexity, needs)
    steps = ({key: share for key, share in step.shares.items() if key in chain} for step in role.weighted)
    return RoutingExplained(
        role=work.role,
        complexity=work.complexity,
        why=why,
        wait_s=round(wait_s, 1) if wait_s < inf else None,
        chain=chain,
        lane=work.lane,
        deadline_ms=work.deadline_ms,
        weighted=tuple(
            DrawnStep(models=tuple(step), weights=tuple(step.values())) for step in steps if len(step) > 1
        ),
    )


async def _undecoded(message: NatsMessage) -> bytes:
    """FastStream's own decoder raises on what is nested too deeply, and nobody would be answered."""
    return message.body
