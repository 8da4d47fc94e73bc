"""What a provider says is wrong, read from any of the shapes in which providers say it.

The reader gathers; what follows from an error is decided in `status_errors.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from services.worker.providers.errors.bodies import HTML, Salvaged, body_value, printable
from services.worker.providers.errors.facts import Facts, gather
from services.worker.providers.errors.wait_hints import wait_s

__all__ = ["ProviderError", "error_in", "read_error", "reports_success"]

_NO_MESSAGE: Final = "the provider reported an error without a message"
_MESSAGE_CHARACTERS: Final = 1000
_WORD_CHARACTERS: Final = 128
_SUCCESS: Final = frozenset({"0", "200", "ok", "success", "succeeded"})
_ERROR_NAMES: Final = ("error", "exception", "exceeded", "failed", "invalid")
_AMAZON: Final = "x-amzn-errortype"
"""Where Bedrock names the type of an error whose body has a message only."""
_CODES: Final = ("code", "status_code", "statusCode", "error_code")
_OVERLOADED: Final = frozenset({503, 529})
"""Statuses of 500 or above whose message may say how long to wait; that of another repeats what broke the server."""
_SAYS_ERROR: Final = ("error", "errors")


class ProviderError(Struct, frozen=True, kw_only=True):
    """One refusal or failure in the provider's own terms. What it did not say is None or empty."""

    message: str = ""
    """The provider's own, on one line and of bounded length."""
    code: str | None = None
    """A word (`context_length_exceeded`) or a number, as text."""
    type: str | None = None
    status: int | None = None
    """The HTTP status, or the one that the body names where HTTP said 200."""
    parameter: str | None = None
    """The parameter of the request that it names."""
    path: str | None = None
    """Where within the request that is, in full: `stream_options.include_usage`."""
    field_parameter: str | None = None
    """The path that a field of the error names (`param`, `loc`), not its message or what it repeats of the request."""
    field_words: tuple[str, ...] = ()
    """The code and the type that fields of the error name."""
    retry_after_s: float | None = None
    """How long to wait, from a header, a field or the message."""
    words: tuple[str, ...] = ()
    """Every code, type, status and reason in it, of nested errors too, in lower case and outermost first."""
    numbers: tuple[int, ...] = ()
    """Every HTTP status that the body names, outermost first."""
    own: frozenset[str] = frozenset()
    """The words and numbers of fields of the error itself, in lower case. What stands in JSON within a message is not
    among them: a provider may repeat there what it was sent."""


def read_error(status: int, body: bytes, headers: Mapping[str, str], now_unix_s: float) -> ProviderError:
    """The error behind an HTTP status of 300 or above. Never raises.

    `now_unix_s`: what dates and Unix times in hints to wait are measured from.
    """
    value = body_value(body)
    facts = Facts(quoted=int(isinstance(value, Salvaged)))
    if isinstance(value, str):
        facts.messages.append(value)
    else:
        gather(value, facts)
    if isinstance(value, HTML):
        facts.words.append("html")
    facts.quoted = 0
    if kind := headers.get(_AMAZON):
        facts.word(kind.partition(":")[0])
    return _error(facts, status, headers, now_unix_s)


def error_in(value: object) -> ProviderError | None:
    """The error that a decoded JSON value of a 200 reports: a whole body, an event of a stream, or the value of an
    `error` key within one. None where it reports none. Never raises.
    """
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return _error_of(value) if value else None
    if isinstance(value, list):
        return next((error for item in value[:16] if (error := error_in(item)) is not None), None)
    if value is True:
        return ProviderError(message=_NO_MESSAGE)
    return _error_of(value) if isinstance(value, dict) and _reports(value) else None


def reports_success(value: object) -> bool:
    """Whether the value of an `error` key says that there is none, as `{"code": 0, "message": ""}` does."""
    if not isinstance(value, dict):
        return False
    code = next((value[name] for name in _CODES if value.get(name) is not None), None)
    message = value.get("message") or "success"
    return str(code).lower() in _SUCCESS and str(message).lower() in _SUCCESS


def _error_of(value: object) -> ProviderError:
    facts = Facts()
    gather({"error": value}, facts)
    status = next((int(text) for text in facts.own if text.isdecimal() and int(text) >= 400), None)
    error = _error(facts, status, {}, 0.0)
    return replace(error, code=error.code or error.type, message=error.message or _NO_MESSAGE)


def _error(facts: Facts, status: int | None, headers: Mapping[str, str], now_unix_s: float) -> ProviderError:
    message = facts.message()
    speaks_of_waiting = status is None or status < 500 or status in _OVERLOADED
    return ProviderError(
        message=printable(message, _MESSAGE_CHARACTERS),
        code=_word(facts.code()),
        type=_word(facts.type),
        status=status,
        parameter=_word(facts.parameter),
        path=_word(facts.parameter),
        field_parameter=_word(facts.field_parameter),
        field_words=tuple(word for text in (facts.field_code, facts.field_type) if (word := _word(text))),
        retry_after_s=wait_s(
            {**facts.headers, **headers}, facts.delays, message if speaks_of_waiting else "", now_unix_s
        ),
        words=tuple(dict.fromkeys(printable(word, _WORD_CHARACTERS).lower() for word in facts.words)),
        numbers=tuple(dict.fromkeys(facts.numbers)),
        own=frozenset(printable(word, _WORD_CHARACTERS).lower() for word in facts.own),
    )


def _word(text: str | None) -> str | None:
    return printable(text, _WORD_CHARACTERS) or None if text else None


def _reports(value: dict[object, object]) -> bool:
    """Whether a JSON object is an error: many a good one has a `type` or a `status`, and a `message` of its own."""
    if any(_says_something(value.get(name)) for name in _SAYS_ERROR):
        return True
    if value.get("choices"):
        return False
    base = value.get("base_resp")
    if isinstance(base, dict):  # MiniMax's, beside `choices: null`
        return _reports({**base, "error": None, "base_resp": None})
    code = next((value[name] for name in _CODES if value.get(name) is not None), None)
    if str(code).lower() in _SUCCESS:
        return False
    kind = value.get("type") or value.get("__type")
    return (
        "error" in (value.get("object"), kind)
        or (bool(code) and not isinstance(code, bool | dict | list))
        or any(value.get(name) and isinstance(value[name], str) for name in ("message", "msg", "Message"))
        or (isinstance(kind, str) and any(name in kind.lower() for name in _ERROR_NAMES))
        or bool(value.get("detail"))
    )


def _says_something(entry: object) -> bool:
    return any(entry.values()) if isinstance(entry, dict) else bool(entry)
