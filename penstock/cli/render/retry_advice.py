"""Whether and when to try a failed request again, and what to change before, by its error code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from penstock.cli.program_name import as_invoked
from penstock.cli.render.times import duration_text
from penstock.contract.errors import ErrorCode, RetryAdvice
from penstock.contract.reply import FailedAttempt

__all__ = ["retry_advice"]

_SAME: Final = "The same request will fail again."
_SMALLER: Final = f"{_SAME} A shorter one, or one with a smaller max_tokens, may succeed."
_RETRY: Final[dict[RetryAdvice, str]] = {
    "never": _SAME,
    "later": "Try again later.",
    "elsewhere": "It may succeed in another role: --role.",
}
_ADVICE: Final[dict[ErrorCode, str]] = {
    "account_disabled": "Enable it first: `penstock budget show` tells what is disabled.",
    "blocked": "Change the text, or the policy of the account: `penstock guard --help`.",
    "cancelled": "Send the request again if it is still wanted.",
    "retrieval_unavailable": "Start an indexer if `penstock status` shows none: `penstock run indexer`.",
    "guard_unavailable": "Start a guard if none runs: `penstock run guard`.",
    "provider_credentials": "Set or replace the key of the provider first: `penstock config check`.",
}
"""Advice for the codes where the time of the next try does not decide."""
_NEVER: Final[dict[ErrorCode, str]] = {
    "request_too_large": _SMALLER,
    "budget_exceeded": _SMALLER,
    "rate_limited": _SMALLER,
    "budget_unavailable": "Set the price of the model first: `penstock prices set`.",
    "content_filtered": "Change the text: the filter of the provider rejects it.",
    "kind_not_served": "Start the service that answers such requests: `penstock run --help`.",
    "unknown_collection": "Add documents to it first: `penstock index`.",
    "undeliverable": "Find out why before you send it again: `penstock dead list`, `penstock dead redrive`.",
}
"""Advice for errors whose `retry` is never, where more can be said than that the same request will fail again."""
_NO_TLS: Final = "no_tls"
"""The kind of an attempt without a TLS connection; its message names the certificate, or the setting to change."""
_NO_TLS_ADVICE: Final = (
    "Correct the TLS connection first, as the message says: the same request will fail again until then."
)
_REFUSED: Final[dict[str, str]] = {
    "oversized": "The answer was too large: a smaller max_tokens, fewer choices, or another prompt may succeed.",
    "random_refusal": "The model wrote an answer that cannot be used: another prompt or model (--model) may succeed.",
    "unclear": "The provider does not say why: another model may answer, --model.",
}
"""Advice for `provider_refused`, by the kind of the last attempt."""


def retry_advice(
    code: ErrorCode,
    retry: RetryAdvice,
    retry_after_s: float | None,
    attempts: Sequence[FailedAttempt] = (),
) -> str:
    """Whether and when to try again, after these failed attempts, and what to change before."""
    if attempts and all(attempt.kind == _NO_TLS for attempt in attempts):
        return _NO_TLS_ADVICE
    if code == "provider_refused" and attempts and attempts[-1].kind in _REFUSED:
        return _REFUSED[attempts[-1].kind]
    # Rounded up: an earlier request would be rejected again.
    when = "" if retry_after_s is None else f"in {duration_text(retry_after_s)} at the earliest"
    if when and retry == "later" and code not in _ADVICE:
        return f"Try again {when}."
    special = _ADVICE.get(code) or (_NEVER.get(code) if retry == "never" else None)
    advice = as_invoked(special or _RETRY[retry])
    return f"{advice} Try {when}." if when else advice
