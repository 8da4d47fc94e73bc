"""A request event as it came, and what can be read of it where it is wrong: for whom it is, and whether it is a job."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec import Struct

from penstock.contract import headers, subjects
from penstock.contract.jobs import Job
from penstock.contract.subjects import ReplyAddress

__all__ = ["USER_CHARACTERS", "Arrival", "address_of", "job_of"]

USER_CHARACTERS: Final = 256
"""It stands in every usage event and log line."""


class Arrival(Struct, frozen=True, kw_only=True):
    """A request event as the stream held it."""

    subject: str
    data: bytes
    headers: Mapping[str, str]
    stored_ms: int
    repeated: bool = False
    """It may have been handled before, as far as can be known: its publisher may say so, too."""
    redelivered: bool = False
    """A router had this very message before: `accepted` may be out."""


class _Address(Struct):
    id: str | None = None
    client: str | None = None


class _Order(Struct):
    """What of a job's status stands in its request, be it right or not."""

    lane: object = ""
    role: object = ""
    user: object = ""


_address: Final = msgspec.json.Decoder(_Address)
_order: Final = msgspec.json.Decoder(_Order)
_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def address_of(arrival: Arrival) -> ReplyAddress | None:
    """Where a refusal goes: as the body says, else as the headers say, else nowhere."""
    try:
        written = _address.decode(arrival.data)
    except _UNREADABLE:
        written = _Address()
    request_id = _first_token(written.id, arrival.headers.get(headers.MESSAGE_ID, "").rpartition(".")[2])
    client = _first_token(written.client, arrival.headers.get(headers.CLIENT))
    account = subjects.request_address(arrival.subject).account
    if request_id is None or client is None or not subjects.is_token(account):
        return None
    return ReplyAddress(account, client, request_id)


def job_of(arrival: Arrival) -> Job | None:
    """The status, for whoever asks by its id, of a request of the batch lane before it has a role and a deadline."""
    address = address_of(arrival)
    try:
        order = _order.decode(arrival.data)
    except _UNREADABLE:
        return None
    if address is None or order.lane != "batch":
        return None
    return Job(
        id=address.id,
        client=address.client,
        account=address.account,
        user=order.user[:USER_CHARACTERS] if isinstance(order.user, str) else "",
        role=subjects.token(order.role) if isinstance(order.role, str) else "unknown",
        state="queued",
        at_ms=arrival.stored_ms,
        submitted_ms=arrival.stored_ms,
    )


def _first_token(*values: str | None) -> str | None:
    return next((value for value in values if value is not None and subjects.is_token(value)), None)
