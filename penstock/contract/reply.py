"""Reply events. Each request's events form one sequence that ends in exactly one `completed` or `failed`.

`seq` counts within an attempt and begins anew, a million higher, with each: `seq` = attempt x 1,000,000 +
n. So it always rises, and whatever a replaced sender still sends lies below. How to read: drop an event
whose `seq` is not above the highest seen; forget all text on `restarted`; stop at the first terminal
event. A `seq` that is neither the next one nor the first of an attempt means events were missed: they are
stored for 15 minutes in the stream `LLM_REPLIES`.
"""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Raw, Struct, field

from penstock.contract.errors import ErrorCode, Retry
from penstock.contract.names import Complexity, DegradationRule, Lane, Role

__all__ = [
    "NO_RESPONSE",
    "TERMINAL",
    "Accepted",
    "Adapted",
    "Completed",
    "Degraded",
    "Delta",
    "Failed",
    "FailedAttempt",
    "Failure",
    "ReplyEvent",
    "Restarted",
    "Started",
    "Timings",
    "Usage",
    "first_seq",
]

_SEQ_PER_ATTEMPT: Final = 1_000_000


def first_seq(attempt: int) -> int:
    """The `seq` with which the events of `attempt` begin."""
    return attempt * _SEQ_PER_ATTEMPT


NO_RESPONSE: Final = Raw(b"null")
"""A streamed answer was in the deltas. (msgspec takes no Raw in a union with None.)"""


class _Event(Struct, frozen=True, kw_only=True, tag_field="type"):
    id: str
    """The request's."""
    seq: int
    """Position in the reply; the router's `accepted` is 0, the first event of attempt 2 is 2,000,000."""
    attempt: int = 0
    """The provider attempt it belongs to, counted from 1 over all workers that held the request; 0 before the
    first."""
    v: int = 1


class Accepted(_Event, frozen=True, kw_only=True, tag="accepted"):
    """The router chose a role and put the request into its mailbox."""

    role: Role
    complexity: Complexity
    why: str
    """The evidence for role and complexity, in words."""
    lane: Lane
    deadline_ms: int
    """Unix milliseconds."""
    at_ms: int


class Degraded(Struct, frozen=True, kw_only=True):
    """What an attempt was given less of than was asked for, and why."""

    rule: DegradationRule
    what: Literal["model", "max_tokens", "messages"]
    """`model`: another one than the first choice."""
    before: int = 0
    """Tokens or messages; 0 for a model."""
    after: int = 0
    why: str
    """In words."""


class Adapted(Struct, frozen=True, kw_only=True):
    """A parameter of the request that the model does not take as it was sent."""

    parameter: str
    """As the application or the role names it."""
    change: Literal["renamed", "omitted", "replaced"]
    """`replaced`: another value was sent."""
    sent: str = ""
    """The name (`renamed`) or the value as JSON (`replaced`) that was sent; empty for `omitted`."""
    why: str = ""
    """In words."""


class Started(_Event, frozen=True, kw_only=True, tag="started"):
    """A worker begins a provider attempt."""

    model: str
    provider: str
    worker: str
    at_ms: int
    degraded: tuple[Degraded, ...] = ()
    adapted: tuple[Adapted, ...] = ()


class Delta(_Event, frozen=True, kw_only=True, tag="delta"):
    """A piece of a streamed answer: either `text` or `choices`, never both. A chunk of the provider that has both gives
    two deltas, `choices` first. What adds nothing to the answer (null, empty, `role`) is not sent.
    """

    text: str = ""
    """Added to the content of choice 0. All text of choice 0 is here, and nowhere else."""
    choices: tuple[Raw, ...] = ()
    """The chunk's choice objects in order, without the text of choice 0, with all else they carry: reasoning, tool
    calls, logprobs, results of a content filter, content parts other than text, further choices."""


class Restarted(_Event, frozen=True, kw_only=True, tag="restarted"):
    """Forget the text so far: the attempt broke after output was sent, a new one begins."""

    code: ErrorCode
    message: str


class Usage(Struct, frozen=True, kw_only=True, gc=False):
    """Tokens as the provider counted them."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int = 0
    """Part of `input_tokens`."""
    reasoning_tokens: int = 0
    """Part of `output_tokens`."""


class Timings(Struct, frozen=True, kw_only=True):
    """Milliseconds since JetStream accepted the request."""

    queued_ms: float = 0.0
    """Until a worker began."""
    first_token_ms: float | None = None
    """Until the answering attempt's first output; None for a whole reply."""
    total_ms: float = 0.0


class Completed(_Event, frozen=True, kw_only=True, tag="completed"):
    """Terminal: the answer is whole."""

    role: Role
    model: str
    """The model that answered, which after a fallback is not the first of the chain."""
    provider: str
    finish_reason: str
    usage: Usage = field(default_factory=Usage)
    estimated: bool = False
    """True when the provider left out a count and some of `usage` is our estimate."""
    cost_microusd: int = 0
    """Of all attempts together."""
    timings: Timings = field(default_factory=Timings)
    degraded: tuple[Degraded, ...] = ()
    """Of the attempt that answered."""
    adapted: tuple[Adapted, ...] = ()
    """Of the attempt that answered."""
    response: Raw = field(default_factory=lambda: NO_RESPONSE)
    """The provider's chat-completion body, for a request that did not stream; else null."""


class FailedAttempt(Struct, frozen=True, kw_only=True):
    """One provider call that failed, in the provider's own words where it gave any."""

    model: str
    provider: str
    kind: str
    """A failure kind of the worker, as `rate_limited`."""
    status: int | None = None
    """The HTTP status; None: there was no answer."""
    code: str | None = None
    """The provider's own code or type."""
    message: str = ""


class Failure(Struct, frozen=True, kw_only=True):
    """What happened, whether to try again, and when."""

    code: ErrorCode
    message: str
    retry: Retry
    retry_after_s: float | None = None
    provider_code: str | None = None
    """The provider's own code or type, of the last attempt that it answered; None: it gave none, or answered none."""
    provider_message: str | None = None
    """The provider's own message, of the last attempt that it answered, cut to a bounded length."""
    attempts: tuple[FailedAttempt, ...] = ()
    """The failed attempts of the last worker, the latest ones where there were many."""


class Failed(_Event, frozen=True, kw_only=True, tag="failed"):
    """Terminal: there will be no answer. Text sent before is not one."""

    error: Failure
    timings: Timings = field(default_factory=Timings)


ReplyEvent = Accepted | Started | Delta | Restarted | Completed | Failed
TERMINAL: Final = (Completed, Failed)
