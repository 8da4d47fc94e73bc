"""Translate the errors of nats-py into those of the client: what happened, what to check, when to try again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import nats.errors
from nats.aio.client import Client as Nats
from nats.js.errors import APIError, NoStreamResponseError, NotFoundError

from penstock.bus.direct_get import NoSuchStream
from penstock.bus.publish import what_to_check
from penstock.errors import ClientClosed, StoreUnavailable

__all__ = ["cause", "reading"]


@contextmanager
def reading(nc: Nats, what: str, stream: str) -> Iterator[None]:
    """Raises ClientClosed, and StoreUnavailable where `what` cannot be read from `stream`."""
    try:
        yield
    except nats.errors.ConnectionClosedError as error:
        raise ClientClosed from error
    except (nats.errors.Error, TimeoutError) as error:
        raise StoreUnavailable(what, cause(nc, stream, error)) from error


def cause(nc: Nats, subject: str, error: Exception) -> str:
    """What happened, and what to check, as sentences. `subject`: one of the stream's, or the stream's name."""
    if not nc.is_connected:
        return "the connection to NATS is lost, and the client is connecting again. Check that NATS is reachable."
    return f"{_what_happened(error)}. {what_to_check(subject, error)}"


def _what_happened(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "NATS does not answer"
    if isinstance(error, NoSuchStream | NoStreamResponseError | NotFoundError):
        return "no stream answers"
    if isinstance(error, APIError) and error.description:
        return error.description
    return str(error).removeprefix("nats: ") or type(error).__name__
