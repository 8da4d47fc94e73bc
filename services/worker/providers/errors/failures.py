"""The kinds of failure of a provider call, and the table of consequences of each kind."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final, Literal, cast

from msgspec import Struct
from msgspec.structs import replace

from penstock.contract.errors import ErrorCode
from services.worker.providers.errors.proof import proves_rate_limit
from services.worker.providers.errors.read_error import ProviderError
from services.worker.providers.errors.redaction import redact

__all__ = ["FailureHandling", "FailureKind", "Health", "ProviderFailure", "Scope", "health_of"]

_MAX_MESSAGE_CHARACTERS: Final = 500
_PREFIX: Final = re.compile(r"(?:^|(?<=: ))\d{3}, message:\s*")
"""The beginning of the text of an aiohttp error; its number is not the provider's."""

FailureKind = Literal[
    "rate_limited",
    "server_error",
    "connection",
    "no_tls",
    "no_first_token",
    "too_slow",
    "stalled",
    "broken_stream",
    "interrupted",
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
_AFTER_FREEZE: Final[frozenset[FailureKind]] = frozenset(
    {"connection", "no_first_token", "too_slow", "stalled", "broken_stream"}
)
"""Time limits, and connections that the provider may have closed because nothing was read."""
Action = Literal["retry_here", "once_more", "elsewhere", "give_up"]
"""retry_here: another model at once if there is one, this one again after a backoff. once_more: this model one more
time, then elsewhere. elsewhere: this request does not use the model again. give_up: the request itself is at fault."""
Scope = Literal["request", "model", "credential", "provider", "unclear"]
"""What is at fault, and so which shared state a failure may change (D11). unclear: it counts against the model only
when several requests with different content receive it."""
Health = Literal["failure", "neutral", "success", "repeated"]
"""The effect on the model's breaker. repeated: a failure that a request with the same content has met before, which is
no new evidence."""


class FailureHandling(Struct, frozen=True):
    """The consequences of one kind of failure."""

    action: Action
    health: Health
    code: ErrorCode
    """The error code that the application receives when no attempt is left."""
    scope: Scope
    uses_attempt: bool = True
    """False for a 429 for instance: the request waits for quota until its deadline."""


_HANDLING: Final[dict[FailureKind, FailureHandling]] = {
    "rate_limited": FailureHandling(
        "retry_here", "neutral", "provider_unavailable", "model", uses_attempt=False
    ),
    "server_error": FailureHandling("retry_here", "failure", "provider_unavailable", "unclear"),
    "connection": FailureHandling("retry_here", "failure", "provider_unavailable", "provider"),
    # An invalid certificate, or no common version of TLS: every attempt would fail until that is changed.
    "no_tls": FailureHandling("elsewhere", "failure", "provider_unavailable", "provider"),
    "no_first_token": FailureHandling("retry_here", "failure", "provider_unavailable", "model"),
    "too_slow": FailureHandling("retry_here", "failure", "provider_unavailable", "model"),
    "stalled": FailureHandling("retry_here", "failure", "provider_unavailable", "model"),
    "broken_stream": FailureHandling("retry_here", "failure", "provider_unavailable", "model"),
    # This process was frozen during the call, which says nothing of the provider.
    "interrupted": FailureHandling("retry_here", "neutral", "provider_unavailable", "request"),
    "malformed": FailureHandling("retry_here", "failure", "provider_unavailable", "model"),
    "not_found": FailureHandling("elsewhere", "neutral", "provider_unavailable", "model", uses_attempt=False),
    "credentials": FailureHandling("elsewhere", "neutral", "provider_credentials", "credential"),
    # The key is valid and its provider account has no credit left.
    "budget_spent": FailureHandling("elsewhere", "neutral", "provider_credentials", "credential"),
    "too_large": FailureHandling("elsewhere", "neutral", "request_too_large", "request"),
    "context_length": FailureHandling("elsewhere", "success", "context_length_exceeded", "request"),
    "content_filter": FailureHandling("give_up", "success", "content_filtered", "request"),
    "refused": FailureHandling("elsewhere", "success", "provider_refused", "request"),
    "unclear": FailureHandling("elsewhere", "neutral", "provider_refused", "unclear"),
    # The model's output was unusable, as with Groq's `tool_use_failed`: the same request may succeed.
    "random_refusal": FailureHandling("once_more", "success", "provider_refused", "request"),
    # A parameter that the model does not support: it is learned, and the request is sent once more without it.
    "parameter": FailureHandling("once_more", "success", "provider_refused", "request", uses_attempt=False),
    # A repeated request would be answered at the same length, and its tokens are charged again.
    "oversized": FailureHandling("give_up", "success", "provider_refused", "request"),
}


def health_of(outcome: str) -> Health:
    """The effect on the model's health of an outcome in a usage event: `completed` or a failure kind.

    Any other outcome (`cancelled`) is neutral.
    """
    if outcome == "completed":
        return "success"
    handling = _HANDLING.get(cast("FailureKind", outcome))
    return "neutral" if handling is None else handling.health


class ProviderFailure(Exception):
    """One provider call failed. The message is the provider's own where it gave one, on one line and of bounded length.
    It may echo the request, keys included: see `redact`.
    """

    def __init__(
        self,
        kind: FailureKind,
        message: str,
        *,
        status: int | None = None,
        retry_after_s: float | None = None,
        error: ProviderError | None = None,
        connected: bool = True,
    ) -> None:
        """`error`: the error that the provider reported, if any. `connected`: whether a connection was made."""
        super().__init__(_in_one_line(message))
        self.kind = kind
        self.status = status
        self.retry_after_s = retry_after_s
        self.error = error
        self.connected = connected

    @property
    def pauses_quota(self) -> bool:
        """Whether it is a proven rate limit, for which other requests wait too."""
        return self.kind == "rate_limited" and (self.error is None or proves_rate_limit(self.error))

    @property
    def may_follow_freeze(self) -> bool:
        """Whether it looks the same when this process does not run for some seconds during the call."""
        return self.kind in _AFTER_FREEZE and self.status in {None, 408}

    @property
    def uses_attempt(self) -> bool:
        """Whether it counts as one of the attempts. An unproven rate limit does."""
        return self.handling.uses_attempt or (self.kind == "rate_limited" and not self.pauses_quota)

    def redact(self, secrets: Iterable[str]) -> None:
        """Remove the secrets, and recognizable parts of them, from the message and the provider's error."""
        keys = tuple(secrets)
        if not keys:
            return
        self.args = (redact(str(self), keys),)
        if self.error is not None:
            self.error = replace(
                self.error,
                message=redact(self.error.message, keys),
                code=_redacted(self.error.code, keys),
                type=_redacted(self.error.type, keys),
                parameter=_redacted(self.error.parameter, keys),
                codes=tuple(redact(code, keys) for code in self.error.codes),
                trusted_codes=frozenset(redact(code, keys) for code in self.error.trusted_codes),
            )

    @property
    def texts(self) -> tuple[str, ...]:
        """The message, and what the provider said: its message, code and type."""
        error = self.error or ProviderError()
        return str(self), error.message, error.code or "", error.type or ""

    def replace_texts(self, texts: Sequence[str]) -> None:
        """Put these in place of `texts`, in the same order."""
        if tuple(texts) == self.texts:
            return
        shown, message, code, type_ = texts
        self.args = (shown,)
        if self.error is not None:
            self.error = replace(self.error, message=message, code=code or None, type=type_ or None)

    @property
    def handling(self) -> FailureHandling:
        return _HANDLING[self.kind]


def _redacted(text: str | None, secrets: tuple[str, ...]) -> str | None:
    return None if text is None else redact(text, secrets)


def _in_one_line(message: str) -> str:
    """The message on one line, of bounded length, without a library's prefix and without characters that cannot be
    encoded.
    """
    line = _PREFIX.sub("", " ".join(message[: 2 * _MAX_MESSAGE_CHARACTERS].split()))
    return line[:_MAX_MESSAGE_CHARACTERS].encode(errors="replace").decode()
