"""What each error code of JetStream means: whether it passes by itself, and what an operator can do about it.

The codes are those of nats-server 2.12 to 2.15 (its server/errors.json) that it can give to the requests of Penstock:
publishing; creating, reading, updating and purging streams; creating and reading consumers; reading and deleting
messages. Other codes are judged by their HTTP-like code.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from msgspec import Struct
from nats.js.errors import APIError

from penstock.bus.jetstream_answers import AnswerError

__all__ = [
    "ErrorClass",
    "advice",
    "class_of",
    "is_absent",
    "is_at_limit",
    "is_conflict",
    "is_full",
    "is_name_in_use",
    "is_passing",
    "is_subject_full",
]

JetStreamError = APIError | AnswerError


class ErrorClass(StrEnum):
    PASSING = "passing"
    """The same request may succeed a moment later."""
    FULL = "full"
    """A stream, the disk or a limit of the server has no space for the message. Nothing was stored."""
    FINAL = "final"
    """The message or the request itself is refused; sent again unchanged it is refused again."""
    CONFIGURATION = "configuration"
    """The configuration of the server or of Penstock does not allow it: an operator has to change something."""


class _Code(Struct, frozen=True):
    error_class: ErrorClass
    meaning: str
    """nats-server's description; `{}` stands for details."""
    advice: str = ""
    """What an operator can do, as a sentence; empty: nothing in particular."""


_PASSING: Final = ErrorClass.PASSING
_FULL: Final = ErrorClass.FULL
_FINAL: Final = ErrorClass.FINAL
_CONFIGURATION: Final = ErrorClass.CONFIGURATION

_WRONG_LAST: Final = 10071
_WRONG_LAST_IN_CLUSTER: Final = 10164
_STORE_FAILED: Final = 10077
_NO_MESSAGE: Final = 10037
_NO_SEQUENCE: Final = 10043
_NOT_DELETED: Final = 10057
_NAME_IN_USE: Final = 10058

_ENABLE: Final = "Enable JetStream in the configuration of the NATS server, or start it with -js."
_PROVISION: Final = "A router, a worker or `penstock up` creates it at its start: start one of them."
_DISK: Final = (
    "Free disk space at the NATS server, or raise max_file in its jetstream section; if it still refuses then, "
    "restart it."
)
_ACCOUNT_LIMITS: Final = (
    "Raise the JetStream limits of the NATS account, which are below what Penstock's streams need."
)
_CLUSTER: Final = "Check that a majority of the NATS servers of the cluster runs and reaches each other."
_REPLICAS: Final = "Set PENSTOCK_STREAM_REPLICAS to 1, or use a cluster."
_FOREIGN: Final = (
    "Another application uses names or subjects of Penstock: give Penstock a NATS account of its own."
)

_CODES: Final[dict[int, _Code]] = {
    # Elections, restarts and overload.
    10004: _Code(_PASSING, "incomplete results", _CLUSTER),
    10005: _Code(_PASSING, "{no suitable peers}", _CLUSTER),
    10006: _Code(_PASSING, "JetStream not in clustered mode", _CLUSTER),
    10007: _Code(_PASSING, "JetStream cluster not assigned to this server", _CLUSTER),
    10008: _Code(_PASSING, "JetStream system temporarily unavailable", _CLUSTER),
    10009: _Code(_PASSING, "JetStream cluster can not handle request", _CLUSTER),
    10012: _Code(_PASSING, "{consumer creation failed}"),
    10039: _Code(_PASSING, "JetStream not enabled for account", f"If this lasts: {_ENABLE}"),
    10041: _Code(_PASSING, "{raft}", _CLUSTER),
    10048: _Code(_PASSING, "{stream assignment}", _CLUSTER),
    10049: _Code(_PASSING, "{stream creation failed}"),
    10051: _Code(_PASSING, "{stream failure}"),
    10063: _Code(_PASSING, "expected stream sequence does not match", _CLUSTER),
    10069: _Code(_PASSING, "{stream update failed}"),
    10075: _Code(_PASSING, "peer remap failed", _CLUSTER),
    10076: _Code(_PASSING, "JetStream not enabled", f"If this lasts: {_ENABLE}"),
    10096: _Code(_PASSING, "stream not valid"),
    10104: _Code(_PASSING, "error creating store for consumer: {}"),
    10110: _Code(_PASSING, "{purge failed}"),
    10118: _Code(_PASSING, "stream is offline", _CLUSTER),
    10119: _Code(_PASSING, "consumer is offline", _CLUSTER),
    10124: _Code(_PASSING, "stream move already in progress"),
    10158: _Code(_PASSING, "duplicate message id is in process"),
    10163: _Code(_PASSING, "expected last sequence per subject temporarily unavailable"),
    10167: _Code(_PASSING, "too many requests"),
    10180: _Code(_PASSING, "min last sequence"),
    10194: _Code(_PASSING, "stream is offline: {}", _CLUSTER),
    10195: _Code(_PASSING, "consumer is offline: {}", _CLUSTER),
    10202: _Code(_PASSING, "cluster member change is in progress"),
    10226: _Code(_PASSING, "stream reconfiguration already in progress"),
    # No space.
    10002: _Code(_FULL, "resource limits exceeded for account", _ACCOUNT_LIMITS),
    10023: _Code(_FULL, "insufficient resources", _DISK),
    10028: _Code(_FULL, "insufficient memory resources available", _DISK),
    10047: _Code(_FULL, "insufficient storage resources available", _DISK),
    _STORE_FAILED: _Code(_FULL, "{store failed}", _DISK),
    # The message or the request.
    10003: _Code(_FINAL, "bad request"),
    10025: _Code(_FINAL, "invalid JSON: {}"),
    _NO_MESSAGE: _Code(_FINAL, "no message found"),
    10038: _Code(_FINAL, "expected an empty request payload"),
    _NO_SEQUENCE: _Code(_FINAL, "sequence {} not found"),
    10054: _Code(_FINAL, "message size exceeds maximum allowed"),
    10056: _Code(_FINAL, "stream name in subject does not match request"),
    _NOT_DELETED: _Code(_FINAL, "{message not deleted}"),
    10060: _Code(_FINAL, "expected stream does not match"),
    10070: _Code(_FINAL, "wrong last msg ID: {}"),
    _WRONG_LAST: _Code(_FINAL, "wrong last sequence: {}"),
    10097: _Code(_FINAL, "header size exceeds maximum allowed of 64k"),
    10111: _Code(_FINAL, "{rollup failed}"),
    10117: _Code(_FINAL, "subject details would exceed maximum allowed"),
    10157: _Code(_FINAL, "pedantic mode: {}"),
    _WRONG_LAST_IN_CLUSTER: _Code(_FINAL, "wrong last sequence"),
    10165: _Code(_FINAL, "invalid per-message TTL"),
    10193: _Code(_FINAL, "missing sequence for expected last sequence per subject"),
    # The configuration of the server or of Penstock.
    10010: _Code(_CONFIGURATION, "JetStream clustering support required", _ENABLE),
    10013: _Code(_CONFIGURATION, "consumer name already in use", _FOREIGN),
    10014: _Code(_CONFIGURATION, "consumer not found", _PROVISION),
    10026: _Code(_CONFIGURATION, "maximum consumers limit reached", _ACCOUNT_LIMITS),
    10027: _Code(_CONFIGURATION, "maximum number of streams reached", _ACCOUNT_LIMITS),
    10035: _Code(
        _CONFIGURATION,
        "account not found",
        "Check the credentials: the NATS server does not know their account.",
    ),
    10036: _Code(_CONFIGURATION, "not currently supported in clustered mode"),
    10052: _Code(
        _CONFIGURATION, "{stream configuration}", "Use nats-server 2.12 or newer; see the NATS server's log."
    ),
    10053: _Code(_CONFIGURATION, "{stream limits}", _ACCOUNT_LIMITS),
    _NAME_IN_USE: _Code(
        _CONFIGURATION, "stream name already in use with a different configuration", _FOREIGN
    ),
    10059: _Code(_CONFIGURATION, "stream not found", _PROVISION),
    10061: _Code(_CONFIGURATION, "Replicas configuration can not be updated"),
    10065: _Code(_CONFIGURATION, "subjects overlap with an existing stream", _FOREIGN),
    10074: _Code(_CONFIGURATION, "replicas > 1 not supported in non-clustered mode", _REPLICAS),
    10093: _Code(
        _CONFIGURATION, "consumer filter subject is not a valid subset of the interest subjects", _FOREIGN
    ),
    10098: _Code(_CONFIGURATION, "workqueue stream requires explicit ack", _FOREIGN),
    10099: _Code(_CONFIGURATION, "multiple non-filtered consumers not allowed on workqueue stream", _FOREIGN),
    10100: _Code(_CONFIGURATION, "filtered consumer not unique on workqueue stream", _FOREIGN),
    10105: _Code(_CONFIGURATION, "consumer already exists and is still active", _FOREIGN),
    10109: _Code(
        _CONFIGURATION,
        "invalid operation on sealed stream",
        "Delete the sealed stream: Penstock creates it again.",
    ),
    10113: _Code(_CONFIGURATION, "account requires a stream config to have max bytes set", _ACCOUNT_LIMITS),
    10120: _Code(_CONFIGURATION, "no JetStream default or applicable tiered limit present", _ACCOUNT_LIMITS),
    10121: _Code(_CONFIGURATION, "consumer max ack pending exceeds system limit of {}", _ACCOUNT_LIMITS),
    10122: _Code(_CONFIGURATION, "stream max bytes exceeds account limit max stream bytes", _ACCOUNT_LIMITS),
    10123: _Code(_CONFIGURATION, "can not move and scale a stream in a single update"),
    10125: _Code(_CONFIGURATION, "consumer max request batch exceeds server limit of {}", _ACCOUNT_LIMITS),
    10148: _Code(_CONFIGURATION, "consumer already exists", _FOREIGN),
    10149: _Code(_CONFIGURATION, "consumer does not exist", _PROVISION),
    10153: _Code(_CONFIGURATION, "consumer inactive threshold exceeds system limit of {}", _ACCOUNT_LIMITS),
    10166: _Code(_CONFIGURATION, "per-message TTL is disabled"),
    10185: _Code(_CONFIGURATION, "JetStream minimum api level required", "Use nats-server 2.12 or newer."),
}

_AT_LIMIT: Final = "maximum "
"""In the description of 10077 where a stream with `discard: new` has as many messages or bytes as it may have."""
_LIMIT_REACHED: Final = (
    "The stream has reached its limit: its messages come faster than Penstock processes them. Check that its "
    "services run, or raise PENSTOCK_STORE_SCALE."
)
_STORE_CLOSED: Final = ("closed", "stopped", "not leader")
"""In the description of 10077 while the stream is moved, deleted, or stopped with its server."""
_SUBJECT_FULL: Final = "per subject"
"""In the description of 10077 while a subject has as many messages as it may."""
_ROUTE_FASTER: Final = (
    "So many requests of this account wait for a router: send fewer at once, or start a router, if none runs."
)


def class_of(error: JetStreamError) -> ErrorClass:
    """The class of this error; an unknown one is passing if its HTTP-like code is 408, 429 or at least 500.

    nats-py gives an APIError without codes where no server has answered, which passes too.
    """
    known = _CODES.get(error.err_code or 0)
    if known is None:
        code = error.code or 500
        return _PASSING if code >= 500 or code in {408, 429} else _FINAL
    description = (error.description or "").lower()
    if error.err_code == _STORE_FAILED and any(words in description for words in _STORE_CLOSED):
        return _PASSING
    return known.error_class


def is_passing(error: JetStreamError) -> bool:
    return class_of(error) is _PASSING


def is_full(error: JetStreamError) -> bool:
    return class_of(error) is _FULL


def is_at_limit(error: JetStreamError) -> bool:
    """Whether a stream has as many messages or bytes as it may have, in all; the disk of the server has space."""
    is_limit = error.err_code == _STORE_FAILED and _AT_LIMIT in (error.description or "")
    return is_limit and not is_subject_full(error)


def is_subject_full(error: JetStreamError) -> bool:
    """Whether the subject of the message has as many messages as it may: others can be stored."""
    return error.err_code == _STORE_FAILED and _SUBJECT_FULL in (error.description or "")


def is_conflict(error: JetStreamError) -> bool:
    """Whether the subject's last message is not the one that the publisher expected. A cluster also says so while a
    message for the subject is being stored.
    """
    return error.err_code in {_WRONG_LAST, _WRONG_LAST_IN_CLUSTER}


def is_absent(error: JetStreamError) -> bool:
    """Whether the message that was to be read or deleted does not exist, in a stream that does."""
    return error.err_code in {_NO_MESSAGE, _NO_SEQUENCE, _NOT_DELETED}


def is_name_in_use(error: JetStreamError) -> bool:
    """Whether there is a stream of this name with another configuration."""
    return error.err_code == _NAME_IN_USE


def advice(error: JetStreamError) -> str:
    """What an operator can do, as a sentence; empty: nothing in particular."""
    if is_subject_full(error):
        return _ROUTE_FASTER
    if is_at_limit(error):
        return _LIMIT_REACHED
    known = _CODES.get(error.err_code or 0)
    return "" if known is None else known.advice
