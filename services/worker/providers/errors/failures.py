"""Every way in which a provider call can fail, and the one table that says what follows from it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, Literal, cast

from msgspec import Struct
from msgspec.structs import replace

from penstock.contract.errors import ErrorCode
from services.worker.providers.errors.evidence import proves_rate_limit
from services.worker.providers.errors.read_error import ProviderError
from services.worker.providers.errors.redaction import without_secrets

__all__ = ["FailureKind", "Health", "ProviderFailure", "Scope", "Verdict", "health_of"]

_MESSAGE_CHARACTERS: Final = 500
_PREFIX: Final = re.compile(r"(?:^|(?<=: ))\d{3}, message:\s*")
"""How an aiohttp error begins when it is made to text; the number is not the provider's."""

FailureKind = Literal[
    "rate_limited",
    "server_error",
    "connection",
    "no_first_token",
    "too_slow",
    "stalled",
    "broken_stream",
    "malformed",
    "not_found",
    "credentials",
    "budget_spent",
    "too_large",
    "context_length",
    "content_filter",
    "refused",
    "unclear",
    "random_refusal",
    "parameter",
    "oversized",
]
Action = Literal["retry_here", "once_more", "elsewhere", "give_up"]
"""retry_here: another model at once if there is one, this one again after a backoff. once_more: this model one more
time, then elsewhere. elsewhere: never this model again for this request. give_up: the request itself is at fault."""
Scope = Literal["request", "model", "credential", "provider", "unclear"]
"""Whose fault a failure is, and so what of the shared state it may touch (REQUIREMENTS D11). unclear: it counts against
the model only when several requests with different content receive it."""
Health = Literal["failure", "neutral", "success", "repeated"]
"""What it says of the provider's health, for the breaker. repeated: a failure that a request with the same content has
met before, which says nothing new."""


class Verdict(Struct, frozen=True):
    """What follows from one kind of failure."""

    action: Action
    health: Health
    code: ErrorCode
    """What the application hears when no attempt is left."""
    scope: Scope
    counts: bool = True
    """Whether it uses up one of the attempts; a 429 does not: the request waits for quota until its deadline."""


_VERDICTS: Final[dict[FailureKind, Verdict]] = {
    "rate_limited": Verdict("retry_here", "neutral", "provider_unavailable", "model", counts=False),
    "server_error": Verdict("retry_here", "failure", "provider_unavailable", "unclear"),
    "connection": Verdict("retry_here", "failure", "provider_unavailable", "provider"),
    "no_first_token": Verdict("retry_here", "failure", "provider_unavailable", "model"),
    "too_slow": Verdict("retry_here", "failure", "provider_unavailable", "model"),
    "stalled": Verdict("retry_here", "failure", "provider_unavailable", "model"),
    "broken_stream": Verdict("retry_here", "failure", "provider_unavailable", "model"),
    "malformed": Verdict("retry_here", "failure", "provider_unavailable", "model"),
    "not_found": Verdict("elsewhere", "neutral", "provider_unavailable", "model", counts=False),
    "credentials": Verdict("elsewhere", "neutral", "provider_credentials", "credential"),
    # The key is right and its account has no money left: as above, and reported as what it is.
    "budget_spent": Verdict("elsewhere", "neutral", "provider_credentials", "credential"),
    "too_large": Verdict("elsewhere", "neutral", "request_too_large", "request"),
    "context_length": Verdict("elsewhere", "success", "context_length_exceeded", "request"),
    "content_filter": Verdict("give_up", "success", "content_filtered", "request"),
    "refused": Verdict("elsewhere", "success", "provider_refused", "request"),
    "unclear": Verdict("elsewhere", "neutral", "provider_refused", "unclear"),
    # What the model wrote could not be used, as Groq's `tool_use_failed`: the same request may succeed.
    "random_refusal": Verdict("once_more", "success", "provider_refused", "request"),
    # A parameter the model does not take: it is learnt, and the request is sent once more without it.
    "parameter": Verdict("once_more", "success", "provider_refused", "request", counts=False),
    # Asked again it would answer at the same length, and every byte of it is paid for.
    "oversized": Verdict("give_up", "success", "provider_refused", "request"),
}


def health_of(outcome: str) -> Health:
    """What an attempt's outcome, as usage events name it, says of the model: `completed`, or a failure kind.

    Anything else (`cancelled`) says nothing.
    """
    if outcome == "completed":
        return "success"
    verdict = _VERDICTS.get(cast("FailureKind", outcome))
    return "neutral" if verdict is None else verdict.health


class ProviderFailure(Exception):  # its kind says what happened
    """One provider call failed. The message is the provider's own where it gave one, on one line and no longer than
    anybody reads. A provider may put into it what it was sent: see `hide`.
    """

    def __init__(
        self,
        kind: FailureKind,
        message: str,
        *,
        status: int | None = None,
        retry_after_s: float | None = None,
        error: ProviderError | None = None,
        reached: bool = True,
    ) -> None:
        """`error`: what the provider said; None where it said nothing. `reached`: False: no connection was made."""
        super().__init__(_in_one_line(message))
        self.kind = kind
        self.status = status
        self.retry_after_s = retry_after_s
        self.error = error
        self.reached = reached

    @property
    def pauses(self) -> bool:
        """Whether it is a rate limit that the provider has proved to be one: others wait for it too."""
        return self.kind == "rate_limited" and (self.error is None or proves_rate_limit(self.error))

    @property
    def counts(self) -> bool:
        """Whether it uses up one of the attempts. A rate limit that pauses no request does."""
        return self.verdict.counts or (self.kind == "rate_limited" and not self.pauses)

    def hide(self, secrets: Iterable[str]) -> None:
        """Take them, and telling parts of them, out of the message and of all that the provider said."""
        keys = tuple(secrets)
        if not keys:
            return
        self.args = (without_secrets(str(self), keys),)
        if self.error is not None:
            self.error = replace(
                self.error,
                message=without_secrets(self.error.message, keys),
                code=_without(self.error.code, keys),
                type=_without(self.error.type, keys),
                parameter=_without(self.error.parameter, keys),
                words=tuple(without_secrets(word, keys) for word in self.error.words),
                own=frozenset(without_secrets(word, keys) for word in self.error.own),
            )

    @property
    def verdict(self) -> Verdict:
        return _VERDICTS[self.kind]


def _without(words: str | None, secrets: tuple[str, ...]) -> str | None:
    return None if words is None else without_secrets(words, secrets)


def _in_one_line(message: str) -> str:
    """Users read this: no line breaks, not how a library's exception begins, no more than anybody reads of what may
    be megabytes, and nothing that cannot be encoded again.
    """
    words = _PREFIX.sub("", " ".join(message[: 2 * _MESSAGE_CHARACTERS].split()))
    return words[:_MESSAGE_CHARACTERS].encode(errors="replace").decode()
