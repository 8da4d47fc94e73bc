"""One request in a worker's hands."""

from __future__ import annotations

import asyncio

from msgspec import Struct, field

from penstock.config.catalogue import RoleConfig
from penstock.replies import ReplyPublisher
from penstock.telemetry.tracing import Span
from schemas.work import ChatWork
from services.worker.failures import ProviderFailure

__all__ = ["GaveUp", "Job"]


class GaveUp(Exception):  # the request ends without an answer
    """Why, in the words and with the code that the application will see."""

    def __init__(
        self, failure: ProviderFailure | None, code: str, message: str, retry_after_s: float | None
    ) -> None:
        super().__init__(message)
        self.failure = failure
        self.code = code
        self.retry_after_s = retry_after_s


class Job(Struct, kw_only=True):
    """What the rungs of the ladder know of the request, and what they learnt on the way."""

    work: ChatWork
    role: RoleConfig
    reply: ReplyPublisher
    span: Span
    task: asyncio.Task[object]
    deadline_s: float
    """On the loop's clock."""
    accepted_s: float
    """When JetStream stored the request, on the loop's clock."""
    estimated_tokens: int
    """Of the input, calibrated per model later."""
    output_sent: bool = False
    """Some of an answer went out, here or from a worker that died: the next attempt begins with `restarted`."""
    failures: int = 0
    """Attempts used up, those of dead workers included."""
    last_failure: ProviderFailure | None = None
    excluded: dict[str, ProviderFailure] = field(default_factory=dict)
    """Models that will not be asked again for this request, and why."""
    not_before_s: dict[str, float] = field(default_factory=dict)
    """Models that failed and may be asked again, from when on."""
    cost_microusd: int = 0
    cancelled: bool = False
    waits_for: str = ""
    """What the request waits for now, in words; empty while an attempt runs."""
