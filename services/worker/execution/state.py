"""One request in a worker's hands."""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import count
from typing import Final

from msgspec import Struct, field

from penstock.bus.tracing import Span
from penstock.contract.errors import ErrorCode
from penstock.contract.reply import FailedAttempt
from penstock.contract.work import ChatWork
from penstock.runtime.config.catalogue import Degradation, RoleConfig
from penstock.runtime.reply_publisher import ReplyPublisher
from services.worker.degradation.shorten import Shape
from services.worker.estimates.service_times import Calls
from services.worker.execution.coalescer import Flush
from services.worker.providers.errors.failures import ProviderFailure
from services.worker.providers.parameters.request_changes import RequestChanges
from services.worker.rate_limit.quota import QuotaKey

__all__ = ["GaveUp", "HandBack", "Job", "Stay"]

_turns: Final = count(1)


class GaveUp(Exception):
    """The request ends without an answer: why, in the words and with the code that the application will see."""

    def __init__(self, code: ErrorCode, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.code: ErrorCode = code
        self.retry_after_s = retry_after_s


class HandBack(Exception):
    """The request goes back into the queue: another worker of the role can serve it now, and this one cannot."""

    def __init__(self, *, pauses: bool = True) -> None:
        """`pauses`: the next request would fare no better here."""
        super().__init__()
        self.pauses = pauses


class Stay(Struct, frozen=True):
    """A model that is tried once more before the chain goes on."""

    model: str
    until_s: float
    """If it cannot be called by then, the chain goes on. On the loop's clock."""


class Job(Struct, kw_only=True):
    """What the rungs of the ladder know of the request, and what they learnt on the way."""

    work: ChatWork
    work_seq: int
    """Of its message in the mailbox."""
    role: RoleConfig
    reply: ReplyPublisher
    span: Span
    task: asyncio.Task[object]
    """Cancelled when the request is."""
    deadline_s: float
    """On the loop's clock."""
    estimated_tokens: int
    """Of the input, before calibration per model."""
    output_tokens: int
    """The most the answer may have, as far as the quota is concerned."""
    rules: Degradation = field(default_factory=Degradation)
    output_sent: bool = False
    """Some of an answer went out, here or from a worker that is gone: the next attempt begins with `restarted`."""
    text_sent: bool = False
    """Some of an answer was sent, or may have been, by an earlier worker."""
    failures: int = 0
    """Attempts used up, those of workers that are gone included, as far as they count."""
    carried: int = 0
    """Attempts that workers began before this one."""
    counted_before: int = 0
    """How many of those count as used up."""
    delivery: int = 1
    """How often its message was delivered."""
    failed_attempts: list[FailedAttempt] = field(default_factory=list)
    """For the terminal event; bounded."""
    last_failure: ProviderFailure | None = None
    excluded: set[str] = field(default_factory=set)
    """Models that will not be asked again for this request."""
    excluded_here: set[str] = field(default_factory=set)
    """Those of them that only this worker cannot call, as far as is known."""
    refused_keys: set[QuotaKey] = field(default_factory=set)
    """Credentials that refused this request, each for one model."""
    not_before_s: dict[str, float] = field(default_factory=dict)
    """Models that failed and may be asked again, and from when on."""
    stay: Stay | None = None
    once_more: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How often the same model was tried once more, by model and reason."""
    changes: dict[str, RequestChanges] = field(default_factory=dict)
    """What the body changes for a model that refused it as it was sent, by model."""
    unreached: int = 0
    """How often no connection could be made."""
    unheard: str = ""
    """The model that said nothing in the shortened time of the last attempt."""
    opened_s: float = 0.0
    """When it came into this worker's hands."""
    last_resort: bool = False
    """The chosen model is tried although its breaker is not closed: no other can serve the request."""
    silent_until_deadline: bool = False
    """The deadline ended an attempt of which nothing had been heard for long enough."""
    chain: tuple[str, ...] = ()
    """The models that could serve it, in order."""
    first_choice: str = ""
    """The model the complexity put in front; any other that answers is a fallback."""
    passed_over: tuple[str, ...] = ()
    """Models before the one chosen that had no quota left."""
    missed: set[str] = field(default_factory=set)
    """Quotas that had nothing for it when it came."""
    shape: Shape | None = None
    """What of the body could be shortened; read when it is to be for the first time."""
    cost_microusd: int = 0
    kept: tuple[Flush, ...] = ()
    """The streamed answer, of a request of the batch lane: somebody will ask for it hours later."""
    cancelled: bool = False
    turn: int = field(default_factory=_turns.__next__)
    """Among the requests of this worker: lower where it was in hand earlier."""
    calls: Calls = field(default_factory=Calls)
    waits_for: str = ""
    """What the request waits for now, in words; empty while an attempt runs."""
