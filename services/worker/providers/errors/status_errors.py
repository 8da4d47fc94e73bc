"""What an error of a provider means, from an HTTP status or inside a 200; the same for every SDK. Pure.

The order of the rules is the decision: what names its cause (content, length, money, key, model, parameter) goes before
the status, and the status before what is merely likely. What is unclear stays so, and counts against the request only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from services.worker.providers.errors import phrases
from services.worker.providers.errors.echoes import unaltered, without_echoes, without_phrases
from services.worker.providers.errors.failures import FailureKind, ProviderFailure
from services.worker.providers.errors.read_error import ProviderError, read_error
from services.worker.providers.errors.wire_errors import ProviderErrorEvent

__all__ = ["failure_of_error_event", "failure_of_status"]

_BY_STATUS: Final[dict[int, FailureKind]] = {
    401: "credentials",
    402: "budget_spent",
    403: "unclear",
    404: "unclear",
    408: "too_slow",
    409: "server_error",
    413: "too_large",
    425: "server_error",
    429: "rate_limited",
    498: "rate_limited",  # Groq: flex tier capacity exceeded
}
_WHAT_IS_ASKED: Final = frozenset(
    {
        "messages",
        "model",
        "tools",
        "tool_choice",
        "functions",
        "function_call",
        "response_format",
        "stream",
        "prompt",
        "input",
    }
)
"""Without one of these it would be another request."""
_INVALID: Final = (
    phrases.CREDENTIALS_WORDS
    | phrases.MODEL_WORDS
    | phrases.CONTENT_WORDS
    | {"invalid_request_error", "invalid_request", "invalid_argument", "invalid_authentication"}
)
"""Codes that begin with `invalid_`, and are not of one thing in the request."""
_DEVELOPER_ROLE: Final = "developer_role"
_OTHER_ROLE: Final = re.compile(r"invalid value: '(?!developer')|supported values are: .{0,200}'developer'")
"""The role that is refused is not `developer`."""
_CAPITAL: Final = re.compile(r"(?<=[a-z0-9])([A-Z])")
_NAME: Final = re.compile(r"[a-z_][a-z0-9_]{0,63}")
_OF_THE_REQUEST: Final = frozenset({400, 403, 404, 422, 451, 500, 502, None})
"""Statuses with which a refusal of what one request says or asks was seen; None: inside a 200."""


class _Decision(Struct, frozen=True):
    kind: FailureKind
    parameter: str | None = None
    """With the kind `parameter`: the one that the model does not take; `developer_role` for that role."""
    path: str | None = None
    """Where in the request it is, in full."""


class _Said(Struct):
    """An error, prepared for the rules."""

    status: int | None
    """The HTTP status, or what an error inside a 200 says of itself."""
    words: frozenset[str]
    text: str
    own_text: str
    """The text without what may be an echo of the request: all that is searched for what touches other requests."""
    error: ProviderError

    @property
    def is_placed(self) -> bool:
        """Whether the refusal is of one thing in the request: whatever else it says may be the request's own words."""
        where = self.error.parameter
        return (
            (where is not None and where != "model")
            or not self.error.own.isdisjoint(phrases.PARAMETER_WORDS)
            or any(word.startswith("invalid_") and word not in _INVALID for word in self.error.own)
            or phrases.OF_A_PARAMETER.search(self.text) is not None
        )

    def has(self, words: frozenset[str]) -> bool:
        return not words.isdisjoint(self.words)

    def tells(self, phrase: re.Pattern[str]) -> bool:
        return phrase.search(self.text) is not None

    def says(self, phrase: re.Pattern[str]) -> bool:
        """In the provider's own words."""
        return phrase.search(self.own_text) is not None


def failure_of_status(
    status: int, body: bytes, headers: Mapping[str, str], now_unix_s: float
) -> ProviderFailure:
    """The failure that an HTTP status of 300 or above stands for. `now_unix_s`: what dates are measured from."""
    error = read_error(status, body, headers, now_unix_s)
    words = error.message or ("a redirect, which is not followed" if status < 400 else f"HTTP {status}")
    return _failure(error, f"{status}: {words}")


def failure_of_error_event(event: ProviderErrorEvent) -> ProviderFailure:
    """The failure that an error inside a 200 stands for: an event of a stream, or a whole body."""
    return _failure(event.error, str(event))


def _failure(error: ProviderError, message: str) -> ProviderFailure:
    decision = _decide(error)
    return ProviderFailure(
        decision.kind,
        message,
        status=error.status,
        retry_after_s=error.retry_after_s,
        error=replace(error, parameter=decision.parameter, path=decision.path)
        if decision.parameter
        else error,
    )


def _decide(error: ProviderError) -> _Decision:
    """The kind of an error. Never raises."""
    said = _said(error)
    if said.status is not None and 300 <= said.status < 400:
        return _Decision("server_error")
    if "html" in said.words:  # a proxy's page: its words are not the provider's
        return _Decision(_by_status(said))
    for kind, applies in _RULES:
        if applies(said):
            return _Decision(kind)
    path = _refused_path(said) or ""
    if path == _DEVELOPER_ROLE:
        return _Decision("parameter", path, error.path)
    parameter = _parameter(path)
    if parameter is not None:
        return _Decision("parameter", parameter, path)
    return _Decision(_by_status(said))


def _said(error: ProviderError) -> _Said:
    words = frozenset(error.words)
    status = error.status
    if status is None:
        numbers = (number for number in error.numbers if number >= 400)
        named = (phrases.STATUS_OF_WORD[word] for word in error.words if word in phrases.STATUS_OF_WORD)
        status = next(numbers, None) or next(named, None)
    return _Said(status, words, unaltered(error.message), without_echoes(error.message), error)


def _content(said: _Said) -> bool:
    if said.status not in _OF_THE_REQUEST or said.says(phrases.ACCOUNT):
        return False
    if said.has(phrases.CONTENT_WORDS):
        return True
    where = said.error.parameter or "messages"
    if said.is_placed and not where.startswith(("messages", "input", "prompt")):
        return False
    return said.status in {400, 403, 422, 451, None} and said.says(phrases.CONTENT)


def _context(said: _Said) -> bool:
    if said.has(phrases.CONTEXT_WORDS):
        return True
    if phrases.TOO_LONG_TEXT in said.words:
        where = said.error.parameter or "messages"
        return where.startswith(("messages", "input", "prompt"))
    return said.status not in {401, 402, 429} and said.tells(phrases.CONTEXT)


def _too_large(said: _Said) -> bool:
    """No wait would help: one request is more than a minute's limit (OpenAI's 429, Groq's 413)."""
    if said.status == 413 or said.has(phrases.TOO_LARGE_WORDS):
        return True
    if said.status not in {400, 403, 429, None}:
        return False
    found = phrases.LIMIT_AND_REQUESTED.search(said.text)
    if found is None:
        return said.tells(phrases.TOO_LARGE)
    limit, requested = (int(found[name].replace(",", "")) for name in ("limit", "requested"))
    return requested > limit


def _budget(said: _Said) -> bool:
    if said.status == 402:
        return True
    if said.is_placed or (said.status is not None and (said.status >= 500 or said.status in {404, 408, 413})):
        return False
    if said.has(phrases.BUDGET_WORDS) or said.says(phrases.BUDGET):
        return True
    # Gemini says the same of a limit per minute, as RESOURCE_EXHAUSTED and with the time to wait.
    waits = "resource_exhausted" in said.words or said.error.retry_after_s is not None
    return said.says(phrases.QUOTA) and not waits


def _credentials(said: _Said) -> bool:
    if said.status == 401:
        return True
    if said.status not in {400, 403, None} or said.is_placed:
        return False
    if said.has(phrases.RATE_WORDS | phrases.MODEL_WORDS):
        return False
    if said.has(phrases.CREDENTIALS_WORDS - phrases.WEAK_WORDS) or said.says(phrases.CREDENTIALS):
        return True
    if said.says(phrases.OF_A_THING):
        return False
    return (
        said.has(phrases.WEAK_WORDS)
        or said.says(phrases.ACCOUNT)
        or (said.status == 403 and said.says(phrases.PERMISSION))
    )


def _rate_limited(said: _Said) -> bool:
    """By the words of a message only inside a 200: a server that broke repeats what it broke over."""
    if said.status in {429, 498} or said.has(phrases.RATE_WORDS):
        return True
    if said.status is None:
        return 429 in said.error.numbers or said.says(phrases.RATE)
    return 429 in (said.error.numbers if said.status >= 500 else said.error.numbers[:1])


def _random(said: _Said) -> bool:
    return said.has(phrases.RANDOM_WORDS) or (said.status in {400, None} and said.tells(phrases.RANDOM))


def _not_for_this(said: _Said) -> bool:
    if said.status in {400, 403, 404, None} and said.tells(phrases.UNVERIFIED):
        return True
    return said.status in {400, 404, None} and said.tells(phrases.NO_ROUTE)


def _not_found(said: _Said) -> bool:
    if said.is_placed:
        return False
    if said.has(phrases.MODEL_WORDS):
        return said.status is None or said.status < 500
    if said.status in {400, 422, None}:
        return said.says(phrases.MODEL_MISSING)
    return said.status in {404, 410} and (said.says(phrases.MODEL) or said.says(phrases.MODEL_MISSING))


_RULES: Final[tuple[tuple[FailureKind, Callable[[_Said], bool]], ...]] = (
    ("content_filter", _content),
    ("context_length", _context),
    ("too_large", _too_large),
    ("budget_spent", _budget),
    ("refused", _not_for_this),
    ("credentials", _credentials),
    ("rate_limited", _rate_limited),
    ("random_refusal", _random),
    ("not_found", _not_found),
)


def _refused_path(said: _Said) -> str | None:
    """Where in the request the parameter is that the model does not take, in this request or in any value of it."""
    if said.status not in {400, 404, 422, 500, 501, None}:
        return None
    where = said.error.parameter or ""
    if said.tells(phrases.DEVELOPER_ROLE) or (where.startswith("messages") and where.endswith("role")):
        other = _OTHER_ROLE.search(said.text) is not None or "support 'system'" in said.text
        return None if other else _DEVELOPER_ROLE
    if where and (said.has(phrases.PARAMETER_WORDS) or _parameter(where) is None):
        return where
    if said.tells(phrases.IN_MESSAGES):
        return None
    message = without_phrases(said.error.message)
    for pattern in phrases.NAMED_PARAMETERS:
        found = pattern.search(message)
        if found is not None:
            return found[1]
    return None


def _parameter(where: str) -> str | None:
    """The name in the body of a request; None where it is what the request consists of."""
    root = re.split(r"[.\[]", where.removeprefix("body.").removeprefix("$."), maxsplit=1)[0]
    name = _CAPITAL.sub(r"_\1", root).lower()
    return name if _NAME.fullmatch(name) and name not in _WHAT_IS_ASKED else None


def _by_status(said: _Said) -> FailureKind:
    status = said.status
    if status is None:
        return "server_error"
    if status >= 500:  # a proxy's, around what the provider said
        inner = said.error.numbers[0] if said.error.numbers else status
        return "refused" if inner in {400, 422} else "server_error"
    return _BY_STATUS.get(status, "refused")
