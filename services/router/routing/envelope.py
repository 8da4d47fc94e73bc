"""The envelope of a request event, decoded by its kind and checked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple, cast, get_args

import msgspec

from penstock.contract import codec, headers, subjects
from penstock.contract.field_problem import field_problem
from penstock.contract.names import Kind
from penstock.contract.request import NO_BODY, BodyRef, ChatRequest, EmbedRequest, IndexRequest
from penstock.contract.streams import MAX_BODY_BYTES, MAX_REQUEST_BYTES
from services.router.routing.inbound import USER_CHARACTERS, InboundRequest
from services.router.routing.outcome import InvalidRequest

__all__ = ["CheckedAddress", "Request", "check_ref", "checked_address", "decode_request"]

_KEY_CHARACTERS: Final = 64
"""Longest `key` of a request; the edge sends eight characters."""
_MOST_SUBJECTS: Final = 10_000
"""Cached addresses: one for each account, kind and lane."""
_EXACT: Final = 2**53
"""Bound below which every language reads a JSON number exactly."""

Request = ChatRequest | EmbedRequest | IndexRequest
_DECODERS: Final[Mapping[Kind, msgspec.json.Decoder[Any]]] = {
    "chat": codec.REQUEST,
    "embed": codec.EMBED_REQUEST,
    "index": codec.INDEX_REQUEST,
}


class CheckedAddress(NamedTuple):
    """What the subject of a request says."""

    account: str
    kind: Kind


@lru_cache(_MOST_SUBJECTS)
def checked_address(subject: str) -> CheckedAddress:
    """Raises InvalidRequest."""
    address = subjects.request_address(subject)
    _check_token("the account in the subject", address.account)
    if address.kind not in _DECODERS:
        kinds = " or ".join(map(repr, get_args(Kind)))
        raise InvalidRequest(
            f"no service here answers requests of kind {address.kind[:80]!r}; use {kinds}", "kind_not_served"
        )
    return CheckedAddress(address.account, cast("Kind", address.kind))


def _check_token(name: str, value: str) -> None:
    if not subjects.is_token(value):
        raise InvalidRequest(f"{name} must be 1 to 64 characters of A-Z a-z 0-9 _ -, not {value[:80]!r}")


def decode_request(inbound: InboundRequest, address: CheckedAddress) -> Request:
    """Raises InvalidRequest for an event that is not a valid request of the kind in its subject."""
    size = len(inbound.data)
    if size > MAX_REQUEST_BYTES:
        raise InvalidRequest(
            f"the body has {size:,} bytes; the limit is {MAX_REQUEST_BYTES:,}", "request_too_large"
        )
    try:
        inbound.data.decode()  # msgspec checks UTF-8 only in the fields it decodes
        request: Request = _DECODERS[address.kind].decode(inbound.data)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"the request event is not valid: {_problem(error, address.kind)}") from error
    except RecursionError as error:
        raise InvalidRequest("the request event is nested too deeply") from error
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"the request event is not UTF-8 text: {error}") from error
    except msgspec.DecodeError as error:
        raise InvalidRequest(f"the request event is not JSON: {error}") from error
    _check_ids(inbound.headers, request, address.account)
    _check_fields(request)
    return request


def _problem(error: msgspec.ValidationError, kind: Kind) -> str:
    found = field_problem(error)
    if found.field == "type":
        return (
            f"type must be {_DECODERS[kind].type.__struct_config__.tag!r} on a subject of the kind {kind!r}"
        )
    if found.field == "rag":
        return f'{found.problem}: for example {{"collection": "docs"}}'
    return found.problem


def _check_ids(written: Mapping[str, str], request: Request, account: str) -> None:
    if not (subjects.is_token(request.id) and subjects.is_token(request.client)):
        _check_token("id", request.id)
        _check_token("client", request.client)
    header_client = written.get(headers.CLIENT, request.client)
    if header_client != request.client:
        raise InvalidRequest(
            f"the header {headers.CLIENT} names the client {header_client[:80]!r} and the body names "
            f"{request.client!r}: both must be the same"
        )
    message_id = headers.request_message_id(account, request.client, request.id)
    written_id = written.get(headers.MESSAGE_ID, message_id)
    if written_id != message_id:
        # With another id than that of its own request, JetStream would drop the request that has it.
        raise InvalidRequest(
            f"the header {headers.MESSAGE_ID} is {written_id[:200]!r}: it must be {message_id!r}, the account of the "
            "subject with the client and the id of the body"
        )


def _check_fields(request: Request) -> None:
    if len(request.user) > USER_CHARACTERS:
        raise InvalidRequest(f"user must be at most {USER_CHARACTERS} characters", param="user")
    if len(request.key) > _KEY_CHARACTERS:
        raise InvalidRequest(f"key must be at most {_KEY_CHARACTERS} characters: the prefix of an API key")
    if request.timeout_s is not None or request.deadline_ms is not None:
        _check_times(request)


def _check_times(request: Request) -> None:
    if request.timeout_s is not None and request.deadline_ms is not None:
        raise InvalidRequest(
            "timeout_s and deadline_ms exclude each other: send one of them", param="timeout_s"
        )
    if request.timeout_s is not None and not 0 < request.timeout_s < math.inf:
        raise InvalidRequest("timeout_s must be a number of seconds greater than 0", param="timeout_s")
    if request.deadline_ms is not None and not -_EXACT < request.deadline_ms < _EXACT:
        raise InvalidRequest("deadline_ms must be a time in Unix milliseconds")


def check_ref(request: Request, ref: BodyRef) -> None:
    """Raises InvalidRequest for a reference to a body that no request may have."""
    if request.body != NO_BODY:
        raise InvalidRequest("body and body_ref exclude each other: body must be null")
    if ref.size > MAX_BODY_BYTES:
        raise InvalidRequest(
            f"the body has {ref.size:,} bytes; the limit is {MAX_BODY_BYTES:,}", "request_too_large"
        )
    if ref.size <= 0:
        raise InvalidRequest("body_ref.size must be greater than 0")
