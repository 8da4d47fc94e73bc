"""Reads the error that a provider reports, from an HTTP error body or a value inside a 200, in any of the known shapes.

`classify.py` decides what follows from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from penstock.runtime.outbound.retry_after import retry_after_s
from services.worker.providers.errors.error_body import (
    ErrorFields,
    HtmlText,
    TruncatedJson,
    decode_body,
    single_line,
)

__all__ = ["ProviderError", "error_in", "read_error", "reports_success"]

_NO_MESSAGE: Final = "the provider reported an error without a message"
_MAX_MESSAGE_CHARACTERS: Final = 1000
_MAX_CODE_CHARACTERS: Final = 128
_SUCCESS_VALUES: Final = frozenset({"0", "200", "ok", "success", "succeeded"})
_ERROR_TYPE_PARTS: Final = ("error", "exception", "exceeded", "failed", "invalid")
_AMAZON_TYPE_HEADER: Final = "x-amzn-errortype"
"""Header in which Bedrock names the type of an error whose body has only a message."""
_CODE_KEYS: Final = ("code", "status_code", "statusCode", "error_code")
_OVERLOADED: Final = frozenset({503, 529})
"""Statuses of 500 or above whose message may name a wait. The message of other server errors may echo the request."""


class ProviderError(Struct, frozen=True, kw_only=True):
    """One refusal or failure in the provider's own terms. A field it did not give is None or empty."""

    message: str = ""
    """The provider's message, on one line and of bounded length."""
    code: str | None = None
    """A name (`context_length_exceeded`) or a number, as text."""
    type: str | None = None
    status: int | None = None
    """The HTTP status, or the one that the body names where HTTP said 200."""
    parameter: str | None = None
    """The refused parameter of the request."""
    path: str | None = None
    """The full path within the request: `stream_options.include_usage`."""
    trusted_parameter: str | None = None
    """The path from a field of the error (`param`, `loc`), not from its message or an echo of the request."""
    trusted_names: tuple[str, ...] = ()
    """The first code and the first type from fields of the error itself."""
    retry_after_s: float | None = None
    """Seconds to wait, from a header, a field or the message."""
    codes: tuple[str, ...] = ()
    """Every code, type, status and reason, of nested errors too, in lower case and outermost first."""
    statuses: tuple[int, ...] = ()
    """Every HTTP status that the body names, outermost first."""
    trusted_codes: frozenset[str] = frozenset()
    """The codes and statuses from fields of the error itself, in lower case. Codes from JSON within a message are not
    trusted: a provider may echo there what the request sent."""


def read_error(status: int, body: bytes, headers: Mapping[str, str], now_unix_s: float) -> ProviderError:
    """The error in the body of an HTTP response with a status of 300 or above. Never raises.

    `now_unix_s`: reference time for dates and Unix times in wait hints.
    """
    value = decode_body(body)
    fields = ErrorFields(embedded=int(isinstance(value, TruncatedJson)))
    if isinstance(value, str):
        fields.messages.append(value)
    else:
        fields.collect(value)
    if isinstance(value, HtmlText):
        fields.codes.append("html")
    fields.embedded = 0
    if amazon_type := headers.get(_AMAZON_TYPE_HEADER):
        fields.add_code(amazon_type.partition(":")[0])
    return _error(fields, status, headers, now_unix_s)


def error_in(value: object) -> ProviderError | None:
    """The error that a decoded JSON value of a 200 reports: a whole body, an event of a stream, or the value of an
    `error` key within one. None without an error. Never raises.
    """
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return _error_of(value) if value else None
    if isinstance(value, list):
        return next((error for item in value[:16] if (error := error_in(item)) is not None), None)
    if value is True:
        return ProviderError(message=_NO_MESSAGE)
    return _error_of(value) if isinstance(value, dict) and _is_error(value) else None


def reports_success(value: object) -> bool:
    """Whether the value of an `error` key reports success, as `{"code": 0, "message": ""}` does."""
    if not isinstance(value, dict):
        return False
    message = value.get("message") or "success"
    return str(_code_of(value)).lower() in _SUCCESS_VALUES and str(message).lower() in _SUCCESS_VALUES


def _error_of(value: object) -> ProviderError:
    fields = ErrorFields()
    fields.collect({"error": value})
    status = next((int(text) for text in fields.trusted_codes if text.isdecimal() and int(text) >= 400), None)
    error = _error(fields, status, {}, 0.0)
    return replace(error, code=error.code or error.type, message=error.message or _NO_MESSAGE)


def _error(
    fields: ErrorFields, status: int | None, headers: Mapping[str, str], now_unix_s: float
) -> ProviderError:
    message = fields.message()
    may_name_wait = status is None or status < 500 or status in _OVERLOADED
    return ProviderError(
        message=single_line(message, _MAX_MESSAGE_CHARACTERS),
        code=_bounded(fields.code()),
        type=_bounded(fields.type),
        status=status,
        parameter=_bounded(fields.parameter),
        path=_bounded(fields.parameter),
        trusted_parameter=_bounded(fields.trusted_parameter),
        trusted_names=tuple(
            name for text in (fields.trusted_code, fields.trusted_type) if (name := _bounded(text))
        ),
        retry_after_s=retry_after_s(
            {**fields.headers, **headers}, fields.delays, message if may_name_wait else "", now_unix_s
        ),
        codes=tuple(dict.fromkeys(single_line(code, _MAX_CODE_CHARACTERS).lower() for code in fields.codes)),
        statuses=tuple(dict.fromkeys(fields.statuses)),
        trusted_codes=frozenset(
            single_line(code, _MAX_CODE_CHARACTERS).lower() for code in fields.trusted_codes
        ),
    )


def _bounded(text: str | None) -> str | None:
    return single_line(text, _MAX_CODE_CHARACTERS) or None if text else None


def _is_error(value: dict[object, object]) -> bool:
    """Whether a JSON object is an error. Many valid ones have a `type`, a `status` or a `message` of their own."""
    if _is_set(value.get("error")) or _is_set(value.get("errors")):
        return True
    if value.get("choices"):
        return False
    base = value.get("base_resp")
    if isinstance(base, dict):  # MiniMax's, beside `choices: null`
        return _is_error({**base, "error": None, "base_resp": None})
    code = _code_of(value)
    if str(code).lower() in _SUCCESS_VALUES:
        return False
    type_name = value.get("type") or value.get("__type")
    return (
        "error" in (value.get("object"), type_name)
        or (bool(code) and not isinstance(code, bool | dict | list))
        or any(value.get(name) and isinstance(value[name], str) for name in ("message", "msg", "Message"))
        or (isinstance(type_name, str) and any(part in type_name.lower() for part in _ERROR_TYPE_PARTS))
        or bool(value.get("detail"))
    )


def _code_of(value: dict[object, object]) -> object:
    return next((value[name] for name in _CODE_KEYS if value.get(name) is not None), None)


def _is_set(entry: object) -> bool:
    return any(entry.values()) if isinstance(entry, dict) else bool(entry)
