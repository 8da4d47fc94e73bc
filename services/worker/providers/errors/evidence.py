"""Whether one failure proves what it says of something that requests share, or only gives reason to suspect it. Pure.

A provider's message may repeat what the request sent: prompts, names of parameters and tools, addresses of images. So
nothing that a request can write proves anything. Proof is an HTTP status, a word of a known vocabulary in a field of
the error object, or a message that is, from its first character to its last, a known sentence. What is suspected
becomes real when several requests with different content meet with it (REQUIREMENTS D11).
"""

from __future__ import annotations

import re
from typing import Final

from services.worker.providers.errors import phrases
from services.worker.providers.errors.echoes import without_addresses
from services.worker.providers.errors.known_sentences import (
    names_missing_model,
    says_key_refused,
    says_model_missing,
    says_money_spent,
)
from services.worker.providers.errors.read_error import ProviderError

__all__ = ["proves_key_refused", "proves_model_missing", "proves_money_spent", "proves_rate_limit"]

_KEY_STATUSES: Final = frozenset({400, 401, 403, None})
_MONEY_STATUSES: Final = frozenset({400, 401, 402, 403, 412, 429, None})
_MODEL_STATUSES: Final = frozenset({400, 404, 410, 422, None})
_LIMIT_STATUSES: Final = frozenset({429, 498})
_QUOTED: Final = re.compile(r"[`'\"“]([^`'\"”]{1,200})[`'\"”]")
_LIKE_A_NAME: Final = re.compile(r"[a-z0-9]+[-/:@_.]\w|[a-z]\d|\d[a-z]")


def proves_key_refused(error: ProviderError) -> bool:
    if error.status == 401:
        return True
    if error.status not in _KEY_STATUSES:
        return False
    known = phrases.CREDENTIALS_WORDS - phrases.WEAK_WORDS
    return not known.isdisjoint(error.own) or says_key_refused(error.message.lower())


def proves_money_spent(error: ProviderError) -> bool:
    if error.status == 402:
        return True
    if error.status not in _MONEY_STATUSES:
        return False
    return not phrases.BUDGET_WORDS.isdisjoint(error.own) or says_money_spent(error.message.lower())


def proves_rate_limit(error: ProviderError) -> bool:
    if error.status in _LIMIT_STATUSES or "429" in error.own:
        return True
    return not phrases.RATE_WORDS.isdisjoint(error.own)


def proves_model_missing(error: ProviderError, sent: str) -> bool:
    """`sent`: the name by which the model was called. A request may name others: in a tool, or to fall back on."""
    if error.status not in _MODEL_STATUSES or (error.parameter or "model") != "model":
        return False
    message, sent = error.message.lower(), sent.lower()
    if names_missing_model(message, sent) or says_model_missing(message):
        return True
    return not phrases.MODEL_WORDS.isdisjoint(error.own) and _names_no_other(message, sent)


def _names_no_other(message: str, sent: str) -> bool:
    named = _QUOTED.findall(message)
    if named:
        return any(_is(name, sent) for name in named)
    words = without_addresses(message).split()
    names = [word.strip(".,;:()!") for word in words if _LIKE_A_NAME.search(word)]
    return not names or any(_is(name, sent) for name in names)


def _is(name: str, sent: str) -> bool:
    """Also `gpt-4o-2024-08-06` for `gpt-4o`, and `gpt-4o` for `openai/gpt-4o`."""
    name = name.removeprefix("models/")
    return name == sent or name.startswith((f"{sent}-", f"{sent}:")) or sent.endswith(f"/{name}")
