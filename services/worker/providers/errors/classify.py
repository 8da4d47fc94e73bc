"""Classifies an error of a provider into a failure kind, from an HTTP status or inside a 200, for every SDK. Pure.

The order of the rules matters: named causes (content, length, budget, key, model, parameter) come before the status,
and the status before likelihood. An error that stays unclear counts against its request only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from penstock.runtime.outbound.retry_after import plausible_wait_s
from services.worker.providers.errors import vocabulary
from services.worker.providers.errors.failures import FailureKind, ProviderFailure
from services.worker.providers.errors.read_error import ProviderError, read_error
from services.worker.providers.errors.request_echoes import strip_echoes, strip_input_dumps, strip_long_quotes
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
_ESSENTIAL_FIELDS: Final = frozenset(
    {"messages", "model", "tools", "tool_choice", "functions", "function_call", "response_format", "stream"}
    | {"prompt", "input"}
)
"""Fields that cannot be left out: without one it would be a different request."""
_OTHER_INVALID_CODES: Final = (
    vocabulary.CREDENTIAL_CODES
    | vocabulary.MODEL_CODES
    | vocabulary.CONTENT_CODES
    | {"invalid_request_error", "invalid_request", "invalid_argument", "invalid_authentication"}
)
"""Codes that begin with `invalid_` and do not point at one field of the request."""
_DEVELOPER_ROLE: Final = "developer_role"
_OTHER_ROLE: Final = re.compile(r"invalid value: '(?!developer')|supported values are: .{0,200}'developer'")
"""The message refuses a role other than `developer`."""
_CAPITAL: Final = re.compile(r"(?<=[a-z0-9])([A-Z])")
_NAME: Final = re.compile(r"[a-z_][a-z0-9_]{0,63}")
_REQUEST_STATUSES: Final = frozenset({400, 403, 404, 422, 451, 500, 502, None})
"""Statuses with which providers refuse the content of one request; None: inside a 200."""


class _Classification(Struct, frozen=True):
    kind: FailureKind
    parameter: str | None = None
    """With the kind `parameter`: the one that the model does not support; `developer_role` for that role."""
    path: str | None = None
    """Its full path in the request."""


class _ParsedError(Struct):
    """An error, prepared for the rules."""

    status: int | None
    """The HTTP status, or the one that an error inside a 200 names."""
    codes: frozenset[str]
    text: str
    own_text: str
    """The text without possible echoes of the request: rules that affect other requests search only this."""
    error: ProviderError

    @property
    def concerns_field(self) -> bool:
        """Whether the refusal concerns one field of the request, so that other words in it may be an echo."""
        where = self.error.parameter
        return (
            (where is not None and where != "model")
            or not self.error.trusted_codes.isdisjoint(vocabulary.PARAMETER_CODES)
            or any(
                code.startswith("invalid_") and code not in _OTHER_INVALID_CODES
                for code in self.error.trusted_codes
            )
            or vocabulary.INVALID_FIELD_PATTERN.search(self.text) is not None
        )

    def has_code(self, codes: frozenset[str]) -> bool:
        return not codes.isdisjoint(self.codes)

    def matches(self, pattern: re.Pattern[str]) -> bool:
        return pattern.search(self.text) is not None

    def matches_own(self, pattern: re.Pattern[str]) -> bool:
        """Whether the provider's own text matches, without possible echoes of the request."""
        return pattern.search(self.own_text) is not None


def failure_of_status(
    status: int, body: bytes, headers: Mapping[str, str], now_unix_s: float
) -> ProviderFailure:
    """The failure of a response with an HTTP status of 300 or above. `now_unix_s`: reference time for dates."""
    error = read_error(status, body, headers, now_unix_s)
    text = error.message or ("a redirect, which is not followed" if status < 400 else f"HTTP {status}")
    return _failure(error, f"{status}: {text}")


def failure_of_error_event(event: ProviderErrorEvent) -> ProviderFailure:
    """The failure of an error inside a 200: an event of a stream, or a whole body."""
    return _failure(event.error, str(event))


def _failure(error: ProviderError, message: str) -> ProviderFailure:
    found = _classify(error)
    return ProviderFailure(
        found.kind,
        message,
        status=error.status,
        retry_after_s=plausible_wait_s(error.retry_after_s),
        error=replace(error, parameter=found.parameter, path=found.path) if found.parameter else error,
    )


def _classify(error: ProviderError) -> _Classification:
    """Never raises."""
    parsed = _parse(error)
    if parsed.status is not None and 300 <= parsed.status < 400:
        return _Classification("server_error")
    if "html" in parsed.codes:  # a proxy wrote the page, not the provider's API
        return _Classification(_by_status(parsed))
    for kind, applies in _RULES:
        if applies(parsed):
            return _Classification(kind)
    path = _refused_path(parsed) or ""
    if path == _DEVELOPER_ROLE:
        return _Classification("parameter", path, error.path)
    parameter = _parameter(path)
    if parameter is not None:
        return _Classification("parameter", parameter, path)
    return _Classification(_by_status(parsed))


def _parse(error: ProviderError) -> _ParsedError:
    status = error.status
    if status is None:
        numbers = (number for number in error.statuses if number >= 400)
        named = (vocabulary.STATUS_OF_CODE[code] for code in error.codes if code in vocabulary.STATUS_OF_CODE)
        status = next(numbers, None) or next(named, None)
    codes = frozenset(error.codes)
    return _ParsedError(status, codes, strip_input_dumps(error.message), strip_echoes(error.message), error)


def _is_content_filter(parsed: _ParsedError) -> bool:
    if parsed.status not in _REQUEST_STATUSES or parsed.matches_own(vocabulary.ACCOUNT_CLOSED_PATTERN):
        return False
    if parsed.has_code(vocabulary.CONTENT_CODES):
        return True
    where = parsed.error.parameter or "messages"
    if parsed.concerns_field and not where.startswith(("messages", "input", "prompt")):
        return False
    return parsed.status in {400, 403, 422, 451, None} and parsed.matches_own(vocabulary.CONTENT_PATTERN)


def _is_context_length(parsed: _ParsedError) -> bool:
    if parsed.has_code(vocabulary.CONTEXT_CODES):
        return True
    if vocabulary.TEXT_TOO_LONG_CODE in parsed.codes:
        where = parsed.error.parameter or "messages"
        return where.startswith(("messages", "input", "prompt"))
    return parsed.status not in {401, 402, 429} and parsed.matches(vocabulary.CONTEXT_PATTERN)


def _is_too_large(parsed: _ParsedError) -> bool:
    """Whether one request exceeds the limit of a minute, so that waiting cannot help (OpenAI's 429, Groq's 413)."""
    if parsed.status == 413 or parsed.has_code(vocabulary.TOO_LARGE_CODES):
        return True
    if parsed.status not in {400, 403, 429, None}:
        return False
    found = vocabulary.LIMIT_AND_REQUESTED_PATTERN.search(parsed.text)
    if found is None:
        return parsed.matches(vocabulary.TOO_LARGE_PATTERN)
    limit, requested = (int(found[name].replace(",", "")) for name in ("limit", "requested"))
    return requested > limit


def _is_budget_spent(parsed: _ParsedError) -> bool:
    if parsed.status == 402:
        return True
    if parsed.concerns_field or (
        parsed.status is not None and (parsed.status >= 500 or parsed.status in {404, 408, 413})
    ):
        return False
    if parsed.has_code(vocabulary.BUDGET_CODES) or parsed.matches_own(vocabulary.BUDGET_PATTERN):
        return True
    # Gemini sends the same message for a limit per minute, with RESOURCE_EXHAUSTED and a retry delay.
    waits = "resource_exhausted" in parsed.codes or parsed.error.retry_after_s is not None
    return parsed.matches_own(vocabulary.PLAN_QUOTA_PATTERN) and not waits


def _is_credentials(parsed: _ParsedError) -> bool:
    if parsed.status == 401:
        return True
    if parsed.status not in {400, 403, None} or parsed.concerns_field:
        return False
    if parsed.has_code(vocabulary.RATE_LIMIT_CODES | vocabulary.MODEL_CODES):
        return False
    if parsed.has_code(
        vocabulary.CREDENTIAL_CODES - vocabulary.AMBIGUOUS_CREDENTIAL_CODES
    ) or parsed.matches_own(vocabulary.CREDENTIAL_PATTERN):
        return True
    if parsed.matches_own(vocabulary.REFERENCED_OBJECT_PATTERN):
        return False
    return (
        parsed.has_code(vocabulary.AMBIGUOUS_CREDENTIAL_CODES)
        or parsed.matches_own(vocabulary.ACCOUNT_CLOSED_PATTERN)
        or (parsed.status == 403 and parsed.matches_own(vocabulary.PERMISSION_PATTERN))
    )


def _is_rate_limited(parsed: _ParsedError) -> bool:
    """Message texts count only inside a 200: the message of a server error may echo the request."""
    if parsed.status in {429, 498} or parsed.has_code(vocabulary.RATE_LIMIT_CODES):
        return True
    if parsed.status is None:
        return 429 in parsed.error.statuses or parsed.matches_own(vocabulary.RATE_LIMIT_PATTERN)
    return 429 in (parsed.error.statuses if parsed.status >= 500 else parsed.error.statuses[:1])


def _is_random_refusal(parsed: _ParsedError) -> bool:
    return parsed.has_code(vocabulary.RANDOM_REFUSAL_CODES) or (
        parsed.status in {400, None} and parsed.matches(vocabulary.RANDOM_REFUSAL_PATTERN)
    )


def _is_unsupported_request(parsed: _ParsedError) -> bool:
    if parsed.status in {400, 403, 404, None} and parsed.matches(vocabulary.UNVERIFIED_ACCOUNT_PATTERN):
        return True
    return parsed.status in {400, 404, None} and parsed.matches(vocabulary.NO_ENDPOINT_PATTERN)


def _is_model_missing(parsed: _ParsedError) -> bool:
    if parsed.concerns_field:
        return False
    if parsed.has_code(vocabulary.MODEL_CODES):
        return parsed.status is None or parsed.status < 500
    if parsed.status in {400, 422, None}:
        return parsed.matches_own(vocabulary.MODEL_MISSING_PATTERN)
    return parsed.status in {404, 410} and (
        parsed.matches_own(vocabulary.MODEL_404_PATTERN)
        or parsed.matches_own(vocabulary.MODEL_MISSING_PATTERN)
    )


_RULES: Final[tuple[tuple[FailureKind, Callable[[_ParsedError], bool]], ...]] = (
    ("content_filter", _is_content_filter),
    ("context_length", _is_context_length),
    ("too_large", _is_too_large),
    ("budget_spent", _is_budget_spent),
    ("refused", _is_unsupported_request),
    ("credentials", _is_credentials),
    ("rate_limited", _is_rate_limited),
    ("random_refusal", _is_random_refusal),
    ("not_found", _is_model_missing),
)


def _refused_path(parsed: _ParsedError) -> str | None:
    """The path in the request of the parameter that the model does not support, at all or with this value."""
    if parsed.status not in {400, 404, 422, 500, 501, None}:
        return None
    where = parsed.error.parameter or ""
    if parsed.matches(vocabulary.DEVELOPER_ROLE_PATTERN) or (
        where.startswith("messages") and where.endswith("role")
    ):
        other = _OTHER_ROLE.search(parsed.text) is not None or "support 'system'" in parsed.text
        return None if other else _DEVELOPER_ROLE
    if where and (parsed.has_code(vocabulary.PARAMETER_CODES) or _parameter(where) is None):
        return where
    if parsed.matches(vocabulary.MESSAGE_INDEX_PATTERN):
        return None
    message = strip_long_quotes(parsed.error.message)
    for pattern in vocabulary.PARAMETER_PATTERNS:
        found = pattern.search(message)
        if found is not None:
            return found[1]
    return None


def _parameter(where: str) -> str | None:
    """The name of the parameter in the request body; None for an essential field."""
    root = re.split(r"[.\[]", where.removeprefix("body.").removeprefix("$."), maxsplit=1)[0]
    name = _CAPITAL.sub(r"_\1", root).lower()
    return name if _NAME.fullmatch(name) and name not in _ESSENTIAL_FIELDS else None


def _by_status(parsed: _ParsedError) -> FailureKind:
    status = parsed.status
    if status is None:
        return "server_error"
    if status >= 500:  # a proxy may have wrapped the provider's error
        inner = parsed.error.statuses[0] if parsed.error.statuses else status
        return "refused" if inner in {400, 422} else "server_error"
    return _BY_STATUS.get(status, "refused")
