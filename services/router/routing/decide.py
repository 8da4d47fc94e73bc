"""The pure decision on one request event: refused, or routed to a role's mailbox."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import msgspec
from msgspec import Struct

from penstock.contract import codec, subjects
from penstock.contract.deadlines import LONGEST_S
from penstock.contract.errors import ErrorCode
from penstock.contract.jobs import Job
from penstock.contract.names import Role
from penstock.contract.reply import Accepted
from penstock.contract.request import ChatRequest
from penstock.contract.streams import MAX_REQUEST_BYTES
from penstock.contract.subjects import ReplyAddress, RequestAddress
from penstock.contract.work import ChatWork
from penstock.runtime.config.catalogue import Catalogue
from services.router.routing.body_errors import BodyRefused
from services.router.routing.complexity import assess
from services.router.routing.features import read
from services.router.routing.inbound import USER_CHARACTERS, Arrival, address_of, job_of
from services.router.routing.limits import DeadlinePast, TooLarge, check_size, deadline_ms
from services.router.routing.role import UnknownRole, resolve

__all__ = ["Refused", "Routed", "judge"]

_NOT_SERVED_RETRY_S: Final = 5.0
_EXACT: Final = 2**53
"""Below it every language reads a JSON number as it was written."""


class Refused(Struct, frozen=True, kw_only=True):
    """Why not, and where to say so; without an address it becomes a dead letter."""

    code: ErrorCode
    message: str
    reply_to: ReplyAddress | None
    retry_after_s: float | None = None
    seq: int = 0
    """Of the `failed` event; 1 where `accepted` has been, or may have been, sent."""
    job: Job | None = None
    """Of a request of the batch lane: its status as far as it is known."""
    sent: Accepted | None = None
    """What was told before it was refused."""
    written_down: bool = False
    """Its status was, for this very request, and then it was not queued."""


class Routed(Struct, frozen=True, kw_only=True):
    """What goes to the mailbox, and what the application hears."""

    work: ChatWork
    accepted: Accepted


class _NotTaken(ValueError):
    """A refusal that is the intake's own."""

    def __init__(self, code: ErrorCode, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.retry_after_s = retry_after_s


_CODES: Final[dict[type[ValueError], ErrorCode]] = {
    BodyRefused: "invalid_request",
    UnknownRole: "unknown_role",
    DeadlinePast: "deadline_exceeded",
    TooLarge: "request_too_large",
}


def judge(arrival: Arrival, catalogue: Catalogue, served: Collection[str], now_ms: int) -> Routed | Refused:
    """Refuse what cannot be served, with the reason; route the rest. `served`: roles with a live worker."""
    where = subjects.request_address(arrival.subject)
    try:
        _check_address(where)
        check_size(len(arrival.data), MAX_REQUEST_BYTES)
        request = _decode(arrival.data)
        return _route(request, where, catalogue, served, arrival.stored_ms, now_ms)
    except _NotTaken as refusal:
        return _refused(arrival, refusal.code, refusal, refusal.retry_after_s)
    except tuple(_CODES) as verdict:
        return _refused(arrival, _CODES[type(verdict)], verdict)


def _refused(
    arrival: Arrival, code: ErrorCode, reason: Exception, retry_after_s: float | None = None
) -> Refused:
    return Refused(
        code=code,
        message=str(reason),
        reply_to=address_of(arrival),
        retry_after_s=retry_after_s,
        seq=int(arrival.redelivered),
        job=job_of(arrival),
    )


def _check_address(where: RequestAddress) -> None:
    _check_token("the account in the subject", where.account)
    if where.kind != "chat":
        raise _NotTaken(
            "kind_not_served", f"nobody here answers requests of kind {where.kind[:80]!r}; try 'chat'"
        )


def _check_token(name: str, value: str) -> None:
    if not subjects.is_token(value):
        raise _NotTaken(
            "invalid_request", f"{name} must be 1 to 64 characters of A-Z a-z 0-9 _ -, not {value[:80]!r}"
        )


def _decode(data: bytes) -> ChatRequest:
    try:
        data.decode()  # msgspec checks UTF-8 only in what it decodes
        request = codec.REQUEST.decode(data)
    except msgspec.ValidationError as error:
        raise _NotTaken("invalid_request", f"the request event is not right: {error}") from error
    except RecursionError as error:
        raise _NotTaken("invalid_request", "the request event is nested too deeply") from error
    except UnicodeDecodeError as error:
        raise _NotTaken("invalid_request", f"the request event is not UTF-8 text: {error}") from error
    except msgspec.DecodeError as error:
        raise _NotTaken("invalid_request", f"the request event is not JSON: {error}") from error
    _check_token("id", request.id)
    _check_token("client", request.client)
    if len(request.user) > USER_CHARACTERS:
        raise _NotTaken("invalid_request", f"user must be at most {USER_CHARACTERS} characters")
    if request.deadline_ms is not None and not -_EXACT < request.deadline_ms < _EXACT:
        raise _NotTaken("invalid_request", "deadline_ms must be a time in Unix milliseconds")
    return request


def _route(
    request: ChatRequest,
    where: RequestAddress,
    catalogue: Catalogue,
    served: Collection[str],
    stored_ms: int,
    now_ms: int,
) -> Routed:
    features = read(request.body)
    decision = resolve(request.role, features, catalogue.routing, served)
    role = _served_role(decision.role, catalogue, served)
    assessment = assess(features, catalogue.routing)
    timeouts = catalogue.roles[role].timeouts
    total_s = timeouts.batch_total_s if request.lane == "batch" else timeouts.total_s
    until_ms = deadline_ms(request.deadline_ms, stored_ms, now_ms, total_s, LONGEST_S[request.lane])
    why = f"{decision.why}; {assessment.complexity}: {assessment.why}"
    work = ChatWork(
        id=request.id,
        account=where.account,
        client=request.client,
        user=request.user,
        role=role,
        lane=request.lane,
        complexity=assessment.complexity,
        why=why,
        deadline_ms=until_ms,
        accepted_ms=stored_ms,
        stream=features.stream,
        vision=features.images > 0,
        estimated_tokens=features.estimated_tokens,
        degrade=request.degrade,
        rescue=request.rescue,
        body=request.body,
    )
    accepted = Accepted(
        id=request.id,
        seq=0,
        role=role,
        complexity=assessment.complexity,
        why=why,
        lane=request.lane,
        deadline_ms=until_ms,
        at_ms=now_ms,
    )
    return Routed(work=work, accepted=accepted)


def _served_role(role: Role, catalogue: Catalogue, served: Collection[str]) -> Role:
    """The door: a role nobody serves is refused here, not discovered at the deadline."""
    if role == "embed":
        raise _NotTaken("invalid_request", "the role embed makes embeddings; it does not chat")
    if role not in catalogue.roles:
        known = ", ".join(catalogue.roles)
        raise _NotTaken(
            "role_not_served", f"the catalogue {catalogue.name} has no role {role}; it has {known}"
        )
    if role not in served:
        raise _NotTaken("role_not_served", f"no worker for the role {role} is alive", _NOT_SERVED_RETRY_S)
    return role
