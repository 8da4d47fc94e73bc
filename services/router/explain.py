"""Answers `llm.router.explain`: how a request would be routed now. Nothing is stored or spent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec import Struct
from nats.aio.msg import Msg

from penstock.bus.clock import Clock
from penstock.contract import codec, subjects
from penstock.contract.codec import encode
from penstock.contract.explain import RequestingAccount, RoutingExplained, WeightedModels
from penstock.contract.names import EMBED, Kind
from penstock.contract.reply import Failed
from penstock.contract.work import ChatWork
from penstock.runtime.config.catalogue import Catalogue, RoleConfig
from penstock.runtime.jobs.completion import failure_of
from penstock.runtime.model_chain import needs_of_work, order, shortfall
from penstock.runtime.service import Bus
from services.router.admission.gate import AdmissionGate
from services.router.admission.wait_estimate import WaitEstimate
from services.router.decision import Decision
from services.router.routing.decide import rejection_of
from services.router.routing.inbound import InboundRequest
from services.router.routing.outcome import BodyNeeded, InvalidRequest, Rejected, Routed

__all__ = ["ExplainHandler", "account_of", "explained"]


class _Typed(Struct):
    type: str = ""


_typed: Final = msgspec.json.Decoder(_Typed)
_requesting_account: Final = msgspec.json.Decoder(RequestingAccount)
_KINDS: Final[Mapping[str, Kind]] = {
    "chat_request": "chat",
    "embed_request": "embed",
    "index_request": "index",
}
_SHORTFALLS: Final = {
    "context": "too long for every model of the role",
    "vision": "no model of the role reads images",
}


class ExplainHandler:
    """Answers a request of any kind with `RoutingExplained`, or with the `Failed` it would receive now.

    The limit on job records is not checked: only writing a record shows it.
    """

    def __init__(
        self, bus: Bus, decision: Decision, gate: AdmissionGate, catalogue: Catalogue, clock: Clock
    ) -> None:
        self._bus = bus
        self._decision = decision
        self._gate = gate
        self._catalogue = catalogue
        self._clock = clock

    async def start(self) -> None:
        await self._bus.nc.subscribe(subjects.EXPLAIN, queue="router", cb=self._on_message)

    async def _on_message(self, msg: Msg) -> None:
        if msg.reply:
            await msg.respond(await self._explain(msg.data))

    async def _explain(self, data: bytes) -> bytes:
        outcome = await self._decide_for_asker(data)
        if isinstance(outcome, Routed):
            rejected, forecast = await self._gate.evaluate(outcome)
            if rejected is None:
                return encode(explained(outcome.work, self._catalogue, forecast.estimate))
            outcome = rejected
        failure = failure_of(outcome.code, outcome.message, outcome.retry_after_s, outcome.param)
        return encode(Failed(id="", seq=0, error=failure))

    async def _decide_for_asker(self, data: bytes) -> Routed | Rejected:
        account = account_of(data)
        inbound = InboundRequest(
            subject=subjects.request(account or RequestingAccount().account, _kind_of(data)),
            data=data,
            headers={},
            stored_ms=self._clock.unix_ms(),
        )
        outcome = await self._decision.decide(inbound)
        if isinstance(outcome, BodyNeeded):
            return rejection_of(inbound, InvalidRequest("explain needs the body itself, not a body_ref"))
        if isinstance(outcome, Routed) and account is None:
            return Rejected(
                code="invalid_request",
                message="account must be 1 to 64 characters of A-Z a-z 0-9 _ -",
                reply_to=outcome.work.reply_to,
            )
        return outcome


def account_of(data: bytes) -> str | None:
    """The account that the question names; None if it is unreadable or not a valid account."""
    try:
        account = _requesting_account.decode(data).account
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return account if subjects.is_token(account) else None


def _explained_role(work: ChatWork, catalogue: Catalogue) -> RoleConfig:
    """For an index request the model that embeds the chunks of a new collection."""
    if work.kind != "index":
        return catalogue.all_roles[work.role]
    retrieval = catalogue.retrieval
    model = None if retrieval is None else retrieval.embedding_model
    if model is None:
        return catalogue.roles.get(EMBED) or RoleConfig(chain=())
    return RoleConfig(chain=(model,))


def _kind_of(data: bytes) -> Kind:
    """By the type of the message; `chat` for one that is not readable."""
    try:
        return _KINDS.get(_typed.decode(data).type, "chat")
    except codec.INVALID:
        return "chat"


def explained(work: ChatWork, catalogue: Catalogue, estimate: WaitEstimate | None = None) -> RoutingExplained:
    """The models in the order in which a worker would try them, were all available; none if none can serve `work`.
    `estimate`: None while it is not known.
    """
    role = _explained_role(work, catalogue)
    needs = needs_of_work(work)
    why = work.why
    if (lacks := shortfall(role, catalogue.models, needs)) is not None:
        why += f"; {_SHORTFALLS[lacks]}"
    chain = order(role, catalogue.models, work.complexity, needs)
    steps = ({key: share for key, share in step.shares.items() if key in chain} for step in role.weighted)
    return RoutingExplained(
        role=work.role,
        complexity=work.complexity,
        why=why,
        wait_s=None if estimate is None or estimate.wait_s is None else round(estimate.wait_s, 1),
        queue_position=None if estimate is None else estimate.position,
        chain=chain,
        lane=work.lane,
        deadline_ms=work.deadline_ms,
        weighted=tuple(
            WeightedModels(models=tuple(step), weights=tuple(step.values()))
            for step in steps
            if len(step) > 1
        ),
    )
