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


class _Evidence(Struct):
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
        retry_after_s=error.retry_after_s,
        error=replace(error, parameter=found.parameter, path=found.path) if found.parameter else error,
    )


def _classify(error: ProviderError) -> _Classification:
    """Never raises."""
    evidence = _evidence_of(error)
    if evidence.status is not None and 300 <= evidence.status < 400:
        return _Classification("server_error")
    if "html" in evidence.codes:  # a proxy wrote the page, not the provider's API
        return _Classification(_by_status(evidence))
    for kind, applies in _RULES:
        if applies(evidence):
            return _Classification(kind)
    path = _refused_path(evidence) or ""
    if path == _DEVELOPER_ROLE:
        return _Classification("parameter", path, error.path)
    parameter = _parameter(path)
    if parameter is not None:
        return _Classification("parameter", parameter, path)
    return _Classification(_by_status(evidence))


def _evidence_of(error: ProviderError) -> _Evidence:
    status = error.status
    if status is None:
        numbers = (number for number in error.statuses if number >= 400)
        named = (vocabulary.STATUS_OF_CODE[code] for code in error.codes if code in vocabulary.STATUS_OF_CODE)
        status = next(numbers, None) or next(named, None)
    codes = frozenset(error.codes)
    return _Evidence(status, codes, strip_input_dumps(error.message), strip_echoes(error.message), error)


def _is_content_filter(evidence: _Evidence) -> bool:
    if evidence.status not in _REQUEST_STATUSES or evidence.matches_own(vocabulary.ACCOUNT_CLOSED_PATTERN):
        return False
    if evidence.has_code(vocabulary.CONTENT_CODES):
        return True
    where = evidence.error.parameter or "messages"
    if evidence.concerns_field and not where.startswith(("messages", "input", "prompt")):
        return False
    return evidence.status in {400, 403, 422, 451, None} and evidence.matches_own(vocabulary.CONTENT_PATTERN)


def _is_context_length(evidence: _Evidence) -> bool:
    if evidence.has_code(vocabulary.CONTEXT_CODES):
        return True
    if vocabulary.TEXT_TOO_LONG_CODE in evidence.codes:
        where = evidence.error.parameter or "messages"
        return where.startswith(("messages", "input", "prompt"))
    return evidence.status not in {401, 402, 429} and evidence.matches(vocabulary.CONTEXT_PATTERN)


def _is_too_large(evidence: _Evidence) -> bool:
    """Whether one request exceeds the limit of a minute, so that waiting cannot help (OpenAI's 429, Groq's 413)."""
    if evidence.status == 413 or evidence.has_code(vocabulary.TOO_LARGE_CODES):
        return True
    if evidence.status not in {400, 403, 429, None}:
        return False
    found = vocabulary.LIMIT_AND_REQUESTED_PATTERN.search(evidence.text)
    if found is None:
        return evidence.matches(vocabulary.TOO_LARGE_PATTERN)
    limit, requested = (int(found[name].replace(",", "")) for name in ("limit", "requested"))
    return requested > limit


def _is_budget_spent(evidence: _Evidence) -> bool:
    if evidence.status == 402:
        return True
    if evidence.concerns_field or (
        evidence.status is not None and (evidence.status >= 500 or evidence.status in {404, 408, 413})
    ):
        return False
    if evidence.has_code(vocabulary.BUDGET_CODES) or evidence.matches_own(vocabulary.BUDGET_PATTERN):
        return True
    # Gemini sends the same message for a limit per minute, with RESOURCE_EXHAUSTED and a retry delay.
    waits = "resource_exhausted" in evidence.codes or evidence.error.retry_after_s is not None
    return evidence.matches_own(vocabulary.PLAN_QUOTA_PATTERN) and not waits


def _is_credentials(evidence: _Evidence) -> bool:
    if evidence.status == 401:
        return True
    if evidence.status not in {400, 403, None} or evidence.concerns_field:
        return False
    if evidence.has_code(vocabulary.RATE_LIMIT_CODES | vocabulary.MODEL_CODES):
        return False
    if evidence.has_code(
        vocabulary.CREDENTIAL_CODES - vocabulary.AMBIGUOUS_CREDENTIAL_CODES
    ) or evidence.matches_own(vocabulary.CREDENTIAL_PATTERN):
        return True
    if evidence.matches_own(vocabulary.REFERENCED_OBJECT_PATTERN):
        return False
    return (
        evidence.has_code(vocabulary.AMBIGUOUS_CREDENTIAL_CODES)
        or evidence.matches_own(vocabulary.ACCOUNT_CLOSED_PATTERN)
        or (evidence.status == 403 and evidence.matches_own(vocabulary.PERMISSION_PATTERN))
    )


def _is_rate_limited(evidence: _Evidence) -> bool:
    """Message texts count only inside a 200: the message of a server error may echo the request."""
    if evidence.status in {429, 498} or evidence.has_code(vocabulary.RATE_LIMIT_CODES):
        return True
    if evidence.status is None:
        return 429 in evidence.error.statuses or evidence.matches_own(vocabulary.RATE_LIMIT_PATTERN)
    return 429 in (evidence.error.statuses if evidence.status >= 500 else evidence.error.statuses[:1])


def _is_random_refusal(evidence: _Evidence) -> bool:
    return evidence.has_code(vocabulary.RANDOM_REFUSAL_CODES) or (
        evidence.status in {400, None} and evidence.matches(vocabulary.RANDOM_REFUSAL_PATTERN)
    )


def _is_unsupported_request(evidence: _Evidence) -> bool:
    if evidence.status in {400, 403, 404, None} and evidence.matches(vocabulary.UNVERIFIED_ACCOUNT_PATTERN):
        return True
    return evidence.status in {400, 404, None} and evidence.matches(vocabulary.NO_ENDPOINT_PATTERN)


def _is_model_missing(evidence: _Evidence) -> bool:
    if evidence.concerns_field:
        return False
    if evidence.has_code(vocabulary.MODEL_CODES):
        return evidence.status is None or evidence.status < 500
    if evidence.status in {400, 422, None}:
        return evidence.matches_own(vocabulary.MODEL_MISSING_PATTERN)
    return evidence.status in {404, 410} and (
        evidence.matches_own(vocabulary.MODEL_404_PATTERN)
        or evidence.matches_own(vocabulary.MODEL_MISSING_PATTERN)
    )


_RULES: Final[tuple[tuple[FailureKind, Callable[[_Evidence], bool]], ...]] = (
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


def _refused_path(evidence: _Evidence) -> str | None:
    """The path in the request of the parameter that the model does not support, at all or with this value."""
    if evidence.status not in {400, 404, 422, 500, 501, None}:
        return None
    where = evidence.error.parameter or ""
    if evidence.matches(vocabulary.DEVELOPER_ROLE_PATTERN) or (
        where.startswith("messages") and where.endswith("role")
    ):
        other = _OTHER_ROLE.search(evidence.text) is not None or "support 'system'" in evidence.text
        return None if other else _DEVELOPER_ROLE
    if where and (evidence.has_code(vocabulary.PARAMETER_CODES) or _parameter(where) is None):
        return where
    if evidence.matches(vocabulary.MESSAGE_INDEX_PATTERN):
        return None
    message = strip_long_quotes(evidence.error.message)
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


def _by_status(evidence: _Evidence) -> FailureKind:
    status = evidence.status
    if status is None:
        return "server_error"
    if status >= 500:  # a proxy may have wrapped the provider's error
        inner = evidence.error.statuses[0] if evidence.error.statuses else status
        return "refused" if inner in {400, 422} else "server_error"
    return _BY_STATUS.get(status, "refused")
