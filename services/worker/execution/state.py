"""The state of one request while this worker executes it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Final

from msgspec import Struct, field

from penstock.bus.tracing import Span
from penstock.contract.errors import ErrorCode
from penstock.contract.ledger.limits import LimitStatus
from penstock.contract.reply import FailedAttempt
from penstock.contract.streams import REPLIES_LEAST_AGE_S
from penstock.contract.work import ChatWork
from penstock.runtime.config.catalogue import RoleConfig
from penstock.runtime.config.degradation import Degradation
from penstock.runtime.pricing import PriceTable
from penstock.runtime.reply_publisher import ReplyPublisher
from penstock.runtime.request_refused import RequestRefused
from services.worker.accounting.charge import NO_CHARGE, Charge
from services.worker.budget.hold_cover import NOTHING, Amount
from services.worker.degradation.shorten import RequestSize
from services.worker.estimates.service_times import RequestCalls
from services.worker.execution.delta_sink import JoinedDelta
from services.worker.guard.request_guard import RequestGuard
from services.worker.providers.errors.failures import ProviderFailure
from services.worker.providers.parameters.request_changes import RequestChanges
from services.worker.rate_limit.quota import QuotaKey
from services.worker.retrieval.retrieved import NOTHING_RETRIEVED, Retrieved

__all__ = [
    "AttemptHistory",
    "CallState",
    "Execution",
    "GaveUp",
    "HandBack",
    "SameModelRetry",
    "cancelled",
    "no_room",
]

_ROOM_AGAIN_S: Final = float(REPLIES_LEAST_AGE_S)
"""`retry_after_s` of a reply without room: routers delete what is older than this, at the account's cost."""
_arrival_numbers: Final = count(1)


def _never(_: float) -> bool:
    return False


class GaveUp(RequestRefused):
    """The request ends without an answer, with the error code and message that the application receives."""

    def __init__(
        self,
        code: ErrorCode,
        message: str,
        retry_after_s: float | None = None,
        limit: LimitStatus | None = None,
        categories: tuple[str, ...] = (),
        *,
        param: str | None = None,
    ) -> None:
        """`limit`: the budget limit that refused another attempt. `categories`: why the guard blocked the request.
        `param`: the field of the request that is wrong.
        """
        super().__init__(code, message, retry_after_s)
        self.limit = limit
        self.categories = categories
        self.param = param


def cancelled() -> GaveUp:
    return GaveUp("cancelled", "the request was cancelled")


def no_room() -> GaveUp:
    """The deadline of a reply ended its wait for room."""
    message = "there was no room for the answer until the deadline: send fewer large requests at once"
    return GaveUp("overloaded", message, _ROOM_AGAIN_S)


class HandBack(Exception):
    """The request returns to its mailbox: another worker of the role can serve it now, and this one cannot."""

    def __init__(self, *, pauses: bool = True) -> None:
        """`pauses`: this worker pulls nothing more of the role for a moment, as it could not serve that either."""
        super().__init__()
        self.pauses = pauses


class SameModelRetry(Struct, frozen=True):
    """A model that is called once more before the chain goes on."""

    model: str
    until_s: float
    """If the model cannot be called by then, the chain goes on. On the loop's clock."""


class AttemptHistory(Struct, kw_only=True):
    """The attempts made for a request, and what their failures rule out for the next one."""

    earlier: int = 0
    """Attempts that other workers began before this delivery."""
    earlier_failures: int = 0
    """The number of earlier attempts that count as used up."""
    failures: int = 0
    """Attempts used up, `earlier_failures` included."""
    failed: list[FailedAttempt] = field(default_factory=list)
    """The latest failed attempts, for the terminal event; bounded."""
    last_failure: ProviderFailure | None = None
    excluded: set[str] = field(default_factory=set)
    """Models that are not called again for this request."""
    excluded_here: set[str] = field(default_factory=set)
    """Excluded models that, as far as is known, only this worker cannot call."""
    refused_keys: set[QuotaKey] = field(default_factory=set)
    """Credentials that refused this request, each for one model."""
    not_before_s: dict[str, float] = field(default_factory=dict)
    """The earliest time of the next call to each model that failed and may be called again."""
    same_model: SameModelRetry | None = None
    repeats: dict[tuple[str, str], int] = field(default_factory=dict)
    """How often a model was called once more, by model and reason."""
    request_changes: dict[str, RequestChanges] = field(default_factory=dict)
    """Changes to the body for a model that refused the body as it was sent, by model."""
    connect_failures: int = 0
    silent_model: str = ""
    """The model that sent nothing within the shortened time limit of the last attempt."""
    output_sent: bool = False
    """Output was published, here or by another worker: the next attempt begins with `restarted`."""
    text_sent: bool = False
    """An earlier worker published text, or may have done so."""


class CallState(Struct, kw_only=True):
    """What the choice of a model, and the consequences of a failed call, need to know of one request, or of a batch of
    texts that are embedded together.
    """

    work: ChatWork
    role: RoleConfig
    degradation: Degradation = field(default_factory=Degradation)
    size: RequestSize
    delivery: int = 1
    """How often the message was delivered."""
    started_s: float = 0.0
    """When this worker began, on the loop's clock."""
    deadline_s: float
    """On the loop's clock."""
    arrival: int = field(default_factory=_arrival_numbers.__next__)
    """Position in the order of arrival at this worker; earlier requests have lower numbers."""
    history: AttemptHistory = field(default_factory=AttemptHistory)
    chain: tuple[str, ...] = ()
    """The models that can serve the request, in order."""
    first_choice: str = ""
    """First model of the chain; an answer of any other is a fallback."""
    models_without_quota: tuple[str, ...] = ()
    """Models that were skipped for the chosen one because no quota was left."""
    last_resort: bool = False
    """The chosen model is called although its breaker is not closed: no other can serve the request."""
    waits_for: str = ""
    """What the request waits for now, in words; empty while an attempt runs."""
    throttled_quotas: set[str] = field(default_factory=set)
    """Quotas that had nothing left for the request when it came."""
    calls: RequestCalls = field(default_factory=RequestCalls)
    silent_until_deadline: bool = False
    """The deadline ended an attempt after the provider had been silent for long enough to count as failed."""


class Execution(CallState, kw_only=True):
    """One delivered request: what is known of it, and how far its execution has come."""

    message_seq: int
    """Stream sequence of the message in the mailbox."""
    may_be_redelivered: Callable[[float], bool] = _never
    """Whether another worker may have the message too; asked with the time on the loop's clock."""
    queued_ms: float = 0.0
    """Milliseconds from the acceptance by JetStream to this worker."""
    reply: ReplyPublisher
    span: Span
    """Cancelled when the request is."""
    counting: int = 0
    """Attempts whose tokens are, or were, counted in the background."""
    charged: Charge = NO_CHARGE
    """For all attempts, those of lost workers by an estimate."""
    held: Amount = NOTHING
    """What the ledger has reserved for the request."""
    prices: PriceTable | None = None
    """The prices against which the hold was checked for the current attempt; None: they never change."""
    batch_output: tuple[JoinedDelta, ...] = ()
    """The streamed answer of a batch request, kept for its result."""
    guard: RequestGuard | None = None
    """None: the texts of the request are not checked."""
    retrieved: Retrieved = NOTHING_RETRIEVED
    """What is put before the messages of the request. `LargeBodies.read` adds it to the body."""
    unreserved_tokens: int = 0
    """Of `retrieved`, those that the estimate of the router does not have."""
    answer_text: str = ""
    """Text of choice 0 of the answer as it was published, if a citation or the memory may need it."""
    hold_is_open: bool = False
    """The request completed without an attempt whose usage ends its hold."""

    def charge(self, added: Charge) -> None:
        """Charge an attempt that is over, or what a count of its tokens adds to the estimate."""
        self.charged = self.charged.plus(added)
