"""An inbound request event, and the fields that can be read from it even where it is malformed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec import Struct

from penstock.contract import headers, subjects
from penstock.contract.guard.checks import Classification
from penstock.contract.jobs import Job
from penstock.contract.names import AUTO, EMBED, INDEX
from penstock.contract.subjects import ReplyAddress
from services.router.routing.bodies import BodyFeatures

__all__ = ["USER_CHARACTERS", "InboundRequest", "address_of", "job_of", "refers_to_body"]

USER_CHARACTERS: Final = 256
"""Longest `user` of a request; it is part of every usage event and log line."""


class InboundRequest(Struct, frozen=True, kw_only=True):
    """A request event as the stream stored it."""

    subject: str
    data: bytes
    headers: Mapping[str, str]
    stored_ms: int
    repeated: bool = False
    """It may have been handled before: JetStream redelivers it, or its publisher marked it as repeated."""
    redelivered: bool = False
    """A router received this very message before, so `accepted` may be published."""
    stored_features: BodyFeatures | None = None
    """The features of the body to which the event refers, once it has been read."""
    topic: Classification | None = None
    """The answer of the classifier, once it was asked."""


class _Address(Struct):
    id: str | None = None
    client: str | None = None


class _JobFields(Struct):
    """The fields of a request that its job status repeats, valid or not."""

    lane: object = None
    role: object = None
    user: object = ""


class _BodyField(Struct):
    body_ref: object = None


_LANE_OF: Final = {"index": "batch"}
_ROLE_OF: Final = {"embed": EMBED, "index": INDEX}
"""The lane and the role of a request that names none, by its kind."""
_address: Final = msgspec.json.Decoder(_Address)
_job_fields: Final = msgspec.json.Decoder(_JobFields)
_body_field: Final = msgspec.json.Decoder(_BodyField)
_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def address_of(inbound: InboundRequest) -> ReplyAddress | None:
    """The reply address in the body, else in the headers, else None.

    The id in a header counts only as `<account>.<client>.<id>`: a part of another text may be the id of a request that
    is running.
    """
    try:
        written = _address.decode(inbound.data)
    except _UNREADABLE:
        written = _Address()
    client = _first_token(written.client, inbound.headers.get(headers.CLIENT))
    account = subjects.request_address(inbound.subject).account
    sender, _, last = inbound.headers.get(headers.MESSAGE_ID, "").rpartition(".")
    request_id = _first_token(written.id, last if sender == f"{account}.{client}" else None)
    if request_id is None or client is None or not subjects.is_token(account):
        return None
    return ReplyAddress(account, client, request_id)


def job_of(inbound: InboundRequest) -> Job | None:
    """The status of a batch request before it has a role and a deadline; None for any other request."""
    address = address_of(inbound)
    try:
        fields = _job_fields.decode(inbound.data)
    except _UNREADABLE:
        return None
    kind = subjects.request_address(inbound.subject).kind
    lane = _LANE_OF.get(kind) if fields.lane is None else fields.lane
    role = _ROLE_OF.get(kind, AUTO) if fields.role is None or kind == "index" else fields.role
    if address is None or lane != "batch":
        return None
    return Job(
        id=address.id,
        client=address.client,
        account=address.account,
        user=fields.user[:USER_CHARACTERS] if isinstance(fields.user, str) else "",
        role=subjects.token(role) if isinstance(role, str) else "unknown",
        state="queued",
        at_ms=inbound.stored_ms,
        submitted_ms=inbound.stored_ms,
    )


def refers_to_body(inbound: InboundRequest) -> bool:
    """Whether the body is stored apart, as far as the event can be read."""
    try:
        return _body_field.decode(inbound.data).body_ref is not None
    except _UNREADABLE:
        return False


def _first_token(*values: str | None) -> str | None:
    return next((value for value in values if value is not None and subjects.is_token(value)), None)
