"""The pure decision on one request event: rejected, or routed to a role's mailbox."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from msgspec.structs import replace

from penstock.contract.guard.checks import Classification
from penstock.contract.reply import Accepted
from penstock.contract.request import LONGEST_S, ChatRequest, EmbedRequest, IndexRequest
from penstock.contract.subjects import ReplyAddress
from penstock.contract.work import ChatWork
from penstock.runtime.config.catalogue import Catalogue
from services.router.routing.bodies import BodyFeatures, extract_body_features
from services.router.routing.chat import plan_chat
from services.router.routing.embedding import EmbedFeatures, plan_embed
from services.router.routing.envelope import Request, check_ref, checked_address, decode_request
from services.router.routing.features import Features
from services.router.routing.inbound import InboundRequest, address_of, job_of
from services.router.routing.indexing import IndexFeatures, plan_index
from services.router.routing.outcome import BodyNeeded, InvalidRequest, Rejected, Routed
from services.router.routing.plan import Plan

__all__ = ["deadline_ms", "decide", "rejection_of"]

_EARLIEST_INSTANT_MS: Final = 100_000_000_000
"""Unix milliseconds in 1973; the same number in seconds is the year 5138. A lower value is a duration or in seconds."""


def decide(
    inbound: InboundRequest, catalogue: Catalogue, served: Collection[str], now_ms: int
) -> Routed | Rejected | BodyNeeded:
    """Reject what cannot be served, with the reason; route the rest. `served`: roles with a live worker.

    BodyNeeded for a request that refers to its body, unless `inbound` has the features of that.
    """
    try:
        address = checked_address(inbound.subject)
        request = decode_request(inbound, address)
        features = inbound.stored_features
        if request.body_ref is not None and features is None:
            check_ref(request, request.body_ref)
            reply_to = ReplyAddress(address.account, request.client, request.id)
            return BodyNeeded(reply_to, request.body_ref, address.kind)
        if features is None:
            features = extract_body_features(address.kind, request.body)
        plan = _plan(request, features, catalogue, served, inbound.topic)
        return _routed(request, plan, address.account, inbound.stored_ms, now_ms)
    except InvalidRequest as error:
        return rejection_of(inbound, error)


def rejection_of(inbound: InboundRequest, error: InvalidRequest) -> Rejected:
    return Rejected(
        code=error.code,
        message=str(error),
        reply_to=address_of(inbound),
        retry_after_s=error.retry_after_s,
        param=error.param,
        seq=int(inbound.redelivered),
        job=job_of(inbound),
    )


def _plan(
    request: Request,
    features: BodyFeatures,
    catalogue: Catalogue,
    served: Collection[str],
    topic: Classification | None,
) -> Plan:
    if isinstance(request, EmbedRequest) and isinstance(features, EmbedFeatures):
        return plan_embed(request, features, catalogue, served)
    if isinstance(request, IndexRequest) and isinstance(features, IndexFeatures):
        return plan_index(request, features, catalogue, served)
    assert isinstance(request, ChatRequest)  # noqa: S101 - the features are those of the kind of the request
    assert isinstance(features, Features)  # noqa: S101
    return plan_chat(request, features, catalogue, served, topic)


def _routed(request: Request, plan: Plan, account: str, stored_ms: int, now_ms: int) -> Routed:
    total_s = plan.total_s if request.timeout_s is None else request.timeout_s
    until_ms = deadline_ms(request.deadline_ms, stored_ms, now_ms, total_s, LONGEST_S[request.lane])
    work = ChatWork(
        id=request.id,
        account=account,
        client=request.client,
        user=request.user,
        key=request.key,
        role=plan.role,
        lane=request.lane,
        complexity=plan.complexity,
        why=plan.why,
        deadline_ms=until_ms,
        accepted_ms=stored_ms,
        stream=plan.stream,
        vision=plan.vision,
        estimated_tokens=plan.estimated_tokens,
        body=request.body,
        body_ref=request.body_ref,
        max_tokens=None if request.body_ref is None else plan.max_tokens,
    )
    accepted = Accepted(
        id=request.id,
        seq=0,
        role=plan.role,
        complexity=plan.complexity,
        why=plan.why,
        lane=request.lane,
        deadline_ms=until_ms,
        at_ms=now_ms,
    )
    return Routed(
        work=_with_fields_of_kind(work, request),
        accepted=accepted,
        max_tokens=plan.max_tokens,
        choices=plan.choices,
        unclear_text=plan.unclear_text,
    )


def _with_fields_of_kind(work: ChatWork, request: Request) -> ChatWork:
    """The work with the fields that only requests of its kind have."""
    match request:
        case EmbedRequest(store=store):
            return replace(work, kind="embed", store=store)
        case IndexRequest(collection=collection):
            return replace(work, kind="index", collection=collection)
    return replace(
        work,
        degrade=request.degrade,
        rescue=request.rescue,
        rag=request.rag,
        conversation=request.conversation,
    )


def deadline_ms(
    requested_ms: int | None,
    stored_ms: int,
    now_ms: int,
    total_s: float,
    max_s: float = LONGEST_S["interactive"],
) -> int:
    """The deadline of a request; all instants are Unix milliseconds by the clock of the NATS server.

    Without `requested_ms` it is `total_s`, the time of the request or of its role, after JetStream stored the request.
    It is at most `max_s`, the lane's limit, after that, so that nothing waits in a mailbox for ever. Raises
    InvalidRequest for a deadline that has passed, with `invalid_request` for one that is no instant in milliseconds.
    """
    wanted_ms = stored_ms + round(min(total_s, max_s) * 1000) if requested_ms is None else requested_ms
    until_ms = min(wanted_ms, stored_ms + round(max_s * 1000))
    if until_ms <= now_ms:
        if until_ms < _EARLIEST_INSTANT_MS < now_ms:
            raise InvalidRequest(
                f"deadline_ms {until_ms} is long past: it must be an instant in milliseconds since 1970, "
                f"such as {now_ms + 60_000}"
            )
        message = f"the deadline passed {now_ms - until_ms:,} ms before the request was routed"
        raise InvalidRequest(message, "deadline_exceeded")
    return until_ms
