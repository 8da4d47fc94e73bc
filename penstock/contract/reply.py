"""Reply events. Each request's events form one sequence that ends in exactly one `completed` or `failed`.

`seq` counts within an attempt and starts a million higher with each: `seq` = attempt x 1,000,000 + n. So it always
rises, and late events of a replaced worker have a lower one. How to read: drop an event whose `seq` is not above the
highest seen; discard all text on `restarted`; stop at the first terminal event. A `seq` that is neither the next one
nor the first of an attempt means that events were missed: they are stored for 15 minutes in the stream `LLM_REPLIES`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, Literal

from msgspec import Raw, Struct, field

from penstock.contract.errors import ErrorCode, RetryAdvice
from penstock.contract.guard.places import ContentPlace, LeftOut
from penstock.contract.guard.policies import Direction
from penstock.contract.ledger.limits import LimitStatus
from penstock.contract.names import Complexity, DegradationRule, Lane, Role
from penstock.contract.retrieval.search import Citation, RecalledTurns

__all__ = [
    "NO_RESPONSE",
    "READER_BEHIND_EVERY_S",
    "TERMINAL",
    "Accepted",
    "Adapted",
    "AnswerEnd",
    "Completed",
    "Degraded",
    "Delta",
    "Failed",
    "FailedAttempt",
    "Failure",
    "GuardedContent",
    "IndexProgress",
    "ReaderBehind",
    "ReplyEvent",
    "Restarted",
    "Started",
    "Timings",
    "Usage",
    "answer_bytes",
    "answer_end",
    "first_seq",
    "text_bytes",
]

_SEQ_PER_ATTEMPT: Final = 1_000_000


def first_seq(attempt: int) -> int:
    """The `seq` of the first event of `attempt`."""
    return attempt * _SEQ_PER_ATTEMPT


NO_RESPONSE: Final = Raw(b"null")
"""The `response` of a streamed answer, whose content is in the deltas. (msgspec allows no Raw in a union with None.)"""


class _Event(Struct, frozen=True, kw_only=True, tag_field="type"):
    id: str
    """The id of the request."""
    seq: int
    """Position in the reply; the router's `accepted` is 0, the first event of attempt 2 is 2,000,000."""
    attempt: int = 0
    """Number of the provider attempt, from 1 over all workers that held the request; 0 before the first."""
    v: int = 1


class Accepted(_Event, frozen=True, kw_only=True, tag="accepted"):
    """The router chose a role and queued the request in its mailbox."""

    role: Role
    complexity: Complexity
    why: str
    """The evidence for role and complexity, as text."""
    lane: Lane
    deadline_ms: int
    """Unix milliseconds."""
    at_ms: int
    queue_position: int | None = None
    """How many requests are expected to start before this one; 0: it is the next. None: not known yet."""
    estimated_wait_s: float | None = None
    """Seconds until a slot and quota are expected for it; None: not known, or no start can be forecast."""
    requests_limit: LimitStatus | None = None
    """Of the limits on requests that apply to the sender, the one with the fewest left; None: there is none."""
    tokens_limit: LimitStatus | None = None
    """The same for the limits on tokens."""


class Degraded(Struct, frozen=True, kw_only=True):
    """One reduction of the request in an attempt, and its reason."""

    rule: DegradationRule
    what: Literal["model", "max_tokens", "messages"]
    """`model`: another model than the first choice."""
    before: int = 0
    """Tokens or messages; 0 for a model."""
    after: int = 0
    why: str
    """The reason, as text."""


class Adapted(Struct, frozen=True, kw_only=True):
    """A parameter that was changed because the model does not accept it as sent, or because a budget needs it."""

    parameter: str
    """The name in the request or in the role."""
    change: Literal["renamed", "omitted", "replaced"]
    """`replaced`: another value was sent."""
    sent: str = ""
    """The name (`renamed`) or the value as JSON (`replaced`) that was sent; empty for `omitted`."""
    why: str = ""
    """The reason, as text."""


class GuardedContent(Struct, frozen=True, kw_only=True):
    """What the safety guard found in a request or its answer, and let pass."""

    direction: Direction
    name: str
    """Category and kind, as `personal_data/email`."""
    action: Literal["flag", "redact"]
    count: int
    places: tuple[ContentPlace, ...] = ()
    """Where in the request; at most the first ten. Empty for an answer."""


class Started(_Event, frozen=True, kw_only=True, tag="started"):
    """A worker starts a provider attempt."""

    model: str
    provider: str
    worker: str
    at_ms: int
    degraded: tuple[Degraded, ...] = ()
    adapted: tuple[Adapted, ...] = ()
    estimated_tokens: int | None = None
    """Estimated input tokens of an attempt at a part of the request, as the texts of an embed request that are in one
    provider call; None: all of it."""


class Delta(_Event, frozen=True, kw_only=True, tag="delta"):
    """A piece of a streamed answer: either `text` or `choices`, never both. A provider chunk with both becomes two
    deltas, `choices` first. Content that adds nothing to the answer (null, empty, `role`) is not sent.
    """

    text: str = ""
    """Text to append to the content of choice 0. All text of choice 0 is here and nowhere else."""
    choices: tuple[Raw, ...] = ()
    """The choice objects of the chunk in order, without the text of choice 0: reasoning, tool calls, logprobs,
    results of a content filter, content parts other than text, further choices. Of an embed request: `VectorBlock`
    objects."""


def text_bytes(text: str) -> int:
    """Bytes of `text` as UTF-8; half of a surrogate pair, which has no encoding, counts as one."""
    return len(text) if text.isascii() else len(text.encode(errors="replace"))


def answer_bytes(text: str, choices: Iterable[Raw] = ()) -> int:
    """Bytes of `text` as UTF-8 plus those of the JSON in `choices`."""
    return text_bytes(text) + sum(map(len, choices))


class IndexProgress(_Event, frozen=True, kw_only=True, tag="index_progress"):
    """How far an index request has come."""

    documents: int
    """Documents of the request."""
    done: int
    """Documents that are indexed, unchanged or refused."""
    chunks: int = 0
    """Chunks of the documents that are done."""
    embedded: int = 0
    """Chunks that a provider embedded."""
    from_cache: int = 0


class Restarted(_Event, frozen=True, kw_only=True, tag="restarted"):
    """Discard the text so far: the attempt failed after output was sent, and a new one starts."""

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
    cache_write_tokens: int = 0
    """Part of `input_tokens` that the provider wrote into its cache."""
    audio_input_tokens: int = 0
    """Part of `input_tokens`."""
    audio_output_tokens: int = 0
    """Part of `output_tokens`."""


class Timings(Struct, frozen=True, kw_only=True):
    """Milliseconds since JetStream accepted the request."""

    queued_ms: float = 0.0
    """Until a worker started the request."""
    waited_ms: float = 0.0
    """A duration, after `queued_ms`: how long that worker waited for quota, a circuit breaker or a backoff. The other
    times include it."""
    first_token_ms: float | None = None
    """Until the answering attempt's first output was sent; None for a whole reply."""
    total_ms: float = 0.0


AnswerEnd = Literal["complete", "output_limit", "context_window", "content_filter", "unknown"]
"""How an answer ended. In the middle of it: at its output limit, at the end of the model's context window, or where a
content filter ended it. `unknown`: it may have been cut.
"""
_FINISH_REASONS: Final[Mapping[AnswerEnd, str]] = {
    "complete": "stop end end_turn eos eos_token stop_sequence complete tool_call tool_calls tool_use function_call",
    "output_limit": "length max_tokens max_output_tokens token_limit",
    "context_window": "model_length model_context_window_exceeded",
    "content_filter": "content_filter content_filtered guardrail_intervened sensitive safety recitation blocklist "
    "prohibited_content spii image_safety language refusal",
}
"""The finish reasons of OpenAI, Anthropic, Bedrock (`guardrail_intervened`, `content_filtered`), Cohere (`complete`),
Gemini (`safety` and those after it), Mistral (`model_length`), TGI (`eos_token`), Together (`eos`), watsonx
(`token_limit`) and Zhipu (`sensitive`), and the stop reasons of APIs that some gateways pass on."""
_ENDS: Final[Mapping[str, AnswerEnd]] = {
    reason: end for end, reasons in _FINISH_REASONS.items() for reason in reasons.split()
}


def answer_end(finish_reason: str) -> AnswerEnd:
    """What a provider's finish reason says of the answer. Providers write the same reason in upper or lower case, with
    `_`, `-` or a space.
    """
    return _ENDS.get(finish_reason.lower().replace("-", "_").replace(" ", "_"), "unknown")


class Completed(_Event, frozen=True, kw_only=True, tag="completed"):
    """Terminal: the answer is complete."""

    role: Role
    model: str
    """The model that answered; after a fallback it is not the first of the chain."""
    provider: str
    finish_reason: str
    usage: Usage = field(default_factory=Usage)
    estimated: bool = False
    """True when the provider omitted a count and part of `usage` is an estimate."""
    cost_microusd: int = 0
    """Cost of all attempts together, those of lost workers by an estimate, without those of `unpriced_attempts`."""
    unpriced_attempts: int = 0
    """Attempts that used tokens of a model without a price; above 0, the cost of the request is not known."""
    timings: Timings = field(default_factory=Timings)
    degraded: tuple[Degraded, ...] = ()
    """Reductions in the attempt that answered."""
    adapted: tuple[Adapted, ...] = ()
    """Changed parameters in the attempt that answered."""
    guarded: tuple[GuardedContent, ...] = ()
    """Findings of the safety guard that were reported or redacted."""
    unchecked: tuple[Direction, ...] = ()
    """Directions in which a check of the safety guard was not made, and the policy let the content pass."""
    left_out: tuple[LeftOut, ...] = ()
    """Passages and earlier turns that the safety guard kept from the model; at most the first 500."""
    citations: tuple[Citation, ...] = ()
    """The passages that were put before the model."""
    recalled: tuple[RecalledTurns, ...] = ()
    """The earlier turns of the user that were put before the model, by their conversations in the order of the
    turns."""
    response: Raw = field(default_factory=lambda: NO_RESPONSE)
    """Of a chat request that did not stream, the provider's chat-completion body; of an embed request an `EmbedResult`,
    of an index request an `IndexReport`; else null."""


READER_BEHIND_EVERY_S: Final = 2.0
"""Seconds between two messages of a client whose readers are behind."""


class ReaderBehind(Struct, frozen=True, kw_only=True, tag="reader_behind", tag_field="type"):
    """Some reader of this client has events to read that the store alone still has: routers keep them for it, also
    where the account has more than its share. Repeated every 2 s until all readers have caught up: then with 0.
    """

    behind_s: float
    """Age of the oldest of these events, in seconds."""
    v: int = 1


class FailedAttempt(Struct, frozen=True, kw_only=True):
    """One failed provider call, with the message of the provider if there was one."""

    model: str
    provider: str
    kind: str
    """The failure kind of the worker, for example `rate_limited`."""
    status: int | None = None
    """The HTTP status; None: the provider did not answer."""
    code: str | None = None
    """The provider's own code or type."""
    message: str = ""


class Failure(Struct, frozen=True, kw_only=True):
    """The error, whether to retry, and when."""

    code: ErrorCode
    message: str
    retry: RetryAdvice
    retry_after_s: float | None = None
    param: str | None = None
    """The field of the request that is wrong, for example `dimensions` or `messages[0].content`; None: it is no single
    one."""
    provider_code: str | None = None
    """The provider's own code or type in the last attempt that it answered; None: there is none."""
    provider_message: str | None = None
    """The provider's own message in the last attempt that it answered, truncated."""
    attempts: tuple[FailedAttempt, ...] = ()
    """The latest failed attempts of the last worker."""
    limit: LimitStatus | None = None
    """The limit that refused the request; None: no limit did."""
    categories: tuple[str, ...] = ()
    """Why the safety guard blocked the request or its answer: categories, with the kind where there is one."""


class Failed(_Event, frozen=True, kw_only=True, tag="failed"):
    """Terminal: there is no answer. Text that was sent before is incomplete."""

    error: Failure
    timings: Timings = field(default_factory=Timings)


ReplyEvent = Accepted | Started | Delta | IndexProgress | Restarted | Completed | Failed
TERMINAL: Final = (Completed, Failed)
