"""What every process shares, and what an application imports: `from penstock import Client`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from penstock.client.client import Client
    from penstock.client.reply import Reply
    from penstock.errors import (
        BeyondTheEnd,
        BrokerUnreachable,
        NoReply,
        NotAccepted,
        PenstockError,
        ReplyIncomplete,
        RequestFailed,
        RequestTooLarge,
        ResultGone,
        UnknownJob,
        UnknownReply,
    )

__all__ = [
    "BeyondTheEnd",
    "BrokerUnreachable",
    "Client",
    "NoReply",
    "NotAccepted",
    "PenstockError",
    "Reply",
    "ReplyIncomplete",
    "RequestFailed",
    "RequestTooLarge",
    "ResultGone",
    "UnknownJob",
    "UnknownReply",
]


def __getattr__(name: str) -> Any:
    """Import on first use: a process that wants one module of ours need not load the client."""
    if name == "Client":
        from penstock.client.client import Client  # noqa: PLC0415

        return Client
    if name == "Reply":
        from penstock.client.reply import Reply  # noqa: PLC0415

        return Reply
    if name in __all__:
        from penstock import errors  # noqa: PLC0415

        return getattr(errors, name)
    raise AttributeError(f"module 'penstock' has no attribute {name!r}")
