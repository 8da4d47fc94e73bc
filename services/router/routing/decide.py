"""The pure decision on one request event: rejected, or routed to a role's mailbox."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import msgspec

from penstock.contract import codec, headers, subjects
from penstock.contract.names import EMBED, Complexity, is_implicit
from penstock.contract.reply import Accepted
from penstock.contract.request import LONGEST_S, NO_BODY, BodyRef, ChatRequest
from penstock.contract.streams import MAX_BODY_BYTES, MAX_REQUEST_BYTES
from penstock.contract.subjects import ReplyAddress
from penstock.contract.work import ChatWork
from penstock.runtime.config.catalogue import Catalogue
from services.router.routing.complexity import assess
from services.router.routing.features import Features, extract_features
from services.router.routing.inbound import USER_CHARACTERS, InboundRequest, address_of, job_of
from services.router.routing.outcome import BodyNeeded, InvalidRequest, Rejected, Routed
from services.router.routing.role import RoleChoice, resolve

__all__ = ["deadline_ms", "decide", "rejection_of"]

_NOT_SERVED_RETRY_S: Final = 5.0
"""Seconds after which a client should retry a role without live workers."""
_KEY_CHARACTERS: Final = 64
"""Longest `key` of a request; the edge sends eight characters."""
_EXACT: Final = 2**53
"""Bound below which every language reads a JSON number exactly."""
_EARLIEST_INSTANT_MS: Final = 100_000_000_000
"""Unix milliseconds in 1973; the same number in seconds is the year 5138. A lower value is a duration or in seconds."""


def decide(
    inbound: InboundRequest, catalogue: Catalogue, served: Collection[str], now_ms: int
) -> Routed | Rejected | BodyNeeded:
    """Reject what cannot be served, with the reason; route the rest. `served`: roles with a live worker.

    BodyNeeded for a request that refers to its body, unless `inbound` has the features of that.
    """
    try:
        account = _checked_account(inbound.subject)
        _check_size(len(inbound.data))
        request = _decode(inbound)
        if request.body_ref is not None and inbound.stored_features is None:
            _check_ref(request, request.body_ref)
            return BodyNeeded(ReplyAddress(account, request.client, request.id), request.body_ref)
        return _route(request, inbound, account, catalogue, served, now_ms)
    except InvalidRequest as error:
        return rejection_of(inbound, error)


def rejection_of(inbound: InboundRequest, error: InvalidRequest) -> Rejected:
    return Rejected(
        code=error.code,
        message=str(error),
        reply_to=address_of(inbound),
        retry_after_s=error.retry_after_s,
        seq=int(inbound.redelivered),
        job=job_of(inbound),
    )


def _checked_account(subject: str) -> str:
    address = subjects.request_address(subject)
    _check_token("the account in the subject", address.account)
    if address.kind != "chat":
        raise InvalidRequest(
            f"no service here answers requests of kind {address.kind[:80]!r}; use 'chat'", "kind_not_served"
        )
    return address.account


def _check_token(name: str, value: str) -> None:
    if not subjects.is_token(value):
        raise InvalidRequest(f"{name} must be 1 to 64 characters of A-Z a-z 0-9 _ -, not {value[:80]!r}")


def _decode(inbound: InboundRequest) -> ChatRequest:
    try:
        inbound.data.decode()  # msgspec checks UTF-8 only in the fields it decodes
        request = codec.REQUEST.decode(inbound.data)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"the request event is not valid: {error}") from error
    except RecursionError as error:
        raise InvalidRequest("the request event is nested too deeply") from error
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"the request event is not UTF-8 text: {error}") from error
    except msgspec.DecodeError as error:
        raise InvalidRequest(f"the request event is not JSON: {error}") from error
    _check_token("id", request.id)
    _check_token("client", request.client)
    header_client = inbound.headers.get(headers.CLIENT, request.client)
    if header_client != request.client:
        raise InvalidRequest(
            f"the header {headers.CLIENT} names the client {header_client[:80]!r} and the body names "
            f"{request.client!r}: both must be the same"
        )
    if len(request.user) > USER_CHARACTERS:
        raise InvalidRequest(f"user must be at most {USER_CHARACTERS} characters")
    if len(request.key) > _KEY_CHARACTERS:
        raise InvalidRequest(f"key must be at most {_KEY_CHARACTERS} characters: the prefix of an API key")
    if request.deadline_ms is not None and not -_EXACT < request.deadline_ms < _EXACT:
        raise InvalidRequest("deadline_ms must be a time in Unix milliseconds")
    return request


def _check_ref(request: ChatRequest, ref: BodyRef) -> None:
    if request.body != NO_BODY:
        raise InvalidRequest("body and body_ref exclude each other: body must be null")
    if ref.size > MAX_BODY_BYTES:
        raise InvalidRequest(
            f"the body has {ref.size:,} bytes; the limit is {MAX_BODY_BYTES:,}", "request_too_large"
        )
    if ref.size <= 0:
        raise InvalidRequest("body_ref.size must be greater than 0")


def _route(
    request: ChatRequest,
    inbound: InboundRequest,
    account: str,
    catalogue: Catalogue,
    served: Collection[str],
    now_ms: int,
) -> Routed:
    features = inbound.stored_features or extract_features(request.body)
    stored_ms = inbound.stored_ms
    choice = resolve(request.role, features, catalogue, served, request.model, inbound.topic)
    _check_served(choice, catalogue, served)
    complexity, why = _complexity(request, features, choice, catalogue)
    timeouts = catalogue.all_roles[choice.role].timeouts
    total_s = timeouts.batch_total_s if request.lane == "batch" else timeouts.total_s
    until_ms = deadline_ms(request.deadline_ms, stored_ms, now_ms, total_s, LONGEST_S[request.lane])
    work = ChatWork(
        id=request.id,
        account=account,
        client=request.client,
        user=request.user,
        key=request.key,
        role=choice.role,
        lane=request.lane,
        complexity=complexity,
        why=why,
        deadline_ms=until_ms,
        accepted_ms=stored_ms,
        stream=features.stream,
        vision=features.images > 0,
        estimated_tokens=features.estimated_tokens,
        degrade=request.degrade,
        rescue=request.rescue,
        body=request.body,
        body_ref=request.body_ref,
        max_tokens=None if request.body_ref is None else features.max_tokens,
    )
    accepted = Accepted(
        id=request.id,
        seq=0,
        role=choice.role,
        complexity=complexity,
        why=why,
        lane=request.lane,
        deadline_ms=until_ms,
        at_ms=now_ms,
    )
    return Routed(
        work=work,
        accepted=accepted,
        max_tokens=features.max_tokens,
        choices=features.choices,
        unclear_text=features.text if choice.unclear and inbound.topic is None else "",
    )


def _complexity(
    request: ChatRequest, features: Features, choice: RoleChoice, catalogue: Catalogue
) -> tuple[Complexity, str]:
    """The complexity, and the reasons for it and for the role; a reason that both have is given once."""
    if request.complexity is not None:
        return request.complexity, f"{choice.why}; {request.complexity}: named in the request"
    assessment = assess(features, catalogue.routing)
    new = [reason for reason in assessment.why.split("; ") if reason not in choice.why]
    return (
        assessment.complexity,
        f"{choice.why}; {assessment.complexity}{': ' if new else ''}{'; '.join(new)}",
    )


def _check_served(choice: RoleChoice, catalogue: Catalogue, served: Collection[str]) -> None:
    """Reject on arrival a request whose role has no live worker, rather than at its deadline."""
    role = choice.role
    if role == EMBED:
        raise InvalidRequest(f"the role {EMBED} is not available yet")
    if role in served or (is_implicit(role) and role in catalogue.implicit_roles_of(served)):
        return
    message = f"no worker for the role {role} is alive"
    if is_implicit(role):
        message = (
            f"no live worker serves the model {catalogue.all_roles[role].chain[0]}: a worker serves the models in the "
            f"chains of its roles; add the model to a chain, or start a worker with --role {role}"
        )
    raise InvalidRequest(message, "role_not_served", _NOT_SERVED_RETRY_S)


def deadline_ms(
    requested_ms: int | None,
    stored_ms: int,
    now_ms: int,
    total_s: float,
    max_s: float = LONGEST_S["interactive"],
) -> int:
    """The deadline of a request; all instants are Unix milliseconds.

    Without `requested_ms` it is `total_s`, the role's time for the lane, after JetStream stored the request. It is at
    most `max_s`, the lane's limit, after that, so that nothing waits in a mailbox for ever. Raises InvalidRequest for a
    deadline that has passed.
    """
    wanted_ms = stored_ms + round(total_s * 1000) if requested_ms is None else requested_ms
    until_ms = min(wanted_ms, stored_ms + round(max_s * 1000))
    if until_ms <= now_ms:
        if until_ms < _EARLIEST_INSTANT_MS < now_ms:
            message = (
                f"deadline_ms {until_ms} is long past: it must be an instant in milliseconds since 1970, "
                f"such as {now_ms + 60_000}"
            )
        else:
            message = f"the deadline passed {now_ms - until_ms:,} ms before the request was routed"
        raise InvalidRequest(message, "deadline_exceeded")
    return until_ms


def _check_size(size: int) -> None:
    if size > MAX_REQUEST_BYTES:
        raise InvalidRequest(
            f"the body has {size:,} bytes; the limit is {MAX_REQUEST_BYTES:,}", "request_too_large"
        )
