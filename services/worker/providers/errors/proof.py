"""Decides whether one failure proves a fault of something shared: a key, a provider account, a model, a limit.

A provider's message may echo the request: prompts, names of parameters and tools, URLs of images. So no text that a
request can write proves anything. Proof is an HTTP status, a known code in a field of the error object, or a message
that matches a known sentence from its first character to its last. A suspicion without proof takes effect when several
requests with different content meet the same failure (D11).

Sentences are compared in lower case. Sources: the samples in `tests/data/provider_errors/`, read in November 2026.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from services.worker.providers.errors import vocabulary
from services.worker.providers.errors.read_error import ProviderError
from services.worker.providers.errors.request_echoes import strip_urls

__all__ = ["proves_budget_spent", "proves_key_refused", "proves_model_missing", "proves_rate_limit"]

_KEY_STATUSES: Final = frozenset({400, 401, 403, None})
_BUDGET_STATUSES: Final = frozenset({400, 401, 402, 403, 412, 429, None})
_MODEL_STATUSES: Final = frozenset({400, 404, 410, 422, None})
_RATE_LIMIT_STATUSES: Final = frozenset({429, 498})
_QUOTED: Final = re.compile(r"[`'\"“]([^`'\"”]{1,200})[`'\"”]")
_LIKE_A_MODEL_NAME: Final = re.compile(r"[a-z0-9]+[-/:@_.]\w|[a-z]\d|\d[a-z]")

_LINK: Final = r"(?:https?://)?[\w.-]{1,60}(?:/[\w./?=#-]{0,120})?"
_KEY: Final = r"[`'\"]?[\w*.…-]{1,200}[`'\"]?"
_NAME: Final = r"[`'\"]?[\w-]{1,64}[`'\"]?"


def _any_of(*sentences: str) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{sentence})" for sentence in sentences))


_BUDGET_SENTENCES: Final = _any_of(
    r"your credit balance is too low(?: to access the (?:anthropic|claude) api)?\."
    r"(?: please go to plans & billing to upgrade or purchase credits\.)?",
    r"you have reached your specified api usage limits\."
    r"(?: you will regain access on [\d-]{8,10}(?: at [\d:]{4,8} utc)?\.)?",
    rf"you exceeded your current quota, please check your plan and billing details\."
    rf"(?: for more information on this error, (?:read the docs|head to): {_LINK}\.?)?",
    r"billing hard limit has been reached\.?",
    r"insufficient (?:balance|credits|quota|funds)\.?(?: add more(?: using "
    rf"{_LINK})?\.?)?",
    rf"key limit exceeded \((?:total|monthly|weekly|daily) limit\)\.?(?: manage it using {_LINK}\.?)?",
    rf"your team(?: {_NAME})? has either used all available credits or reached its monthly spending limit\."
    rf"(?: to continue making api requests, please purchase more credits or raise your spending limit\.?)?",
    r"you have run out of credits or need a grok subscription\."
    rf"(?: add credits at {_LINK} or subscribe at {_LINK}\.?)?",
    rf"account {_NAME} is suspended, possibly due to reaching the monthly spending limit"
    r"(?: or failure to pay past invoices)?\.?"
    rf"(?: please go to {_LINK} for more information\.?)?",
    r"your (?:prepayment )?credits are (?:depleted|exhausted)\.?",
    r"payment required\.?",
)
_KEY_SENTENCES: Final = _any_of(
    r"api key not valid\. please pass a valid api key\.?",
    r"api key (?:not found|expired)\.(?: please (?:pass a valid|renew the) api key\.?)?",
    rf"(?:incorrect|invalid) (?:x-)?api[ -]key(?: provided)?(?:: {_KEY})?\.?"
    rf"(?: you can (?:find|obtain) (?:your|an) api key (?:at|from) {_LINK}\.?)?",
    r"the api key you provided is invalid\.?",
    r"your api key does not have permission to use the specified resource\.?",
    r"the caller does not have permission\.?",
    r"no auth credentials found\.?",
    r"unauthorized\.?",
    rf"project {_NAME} does not have access to the endpoint\.?",
    r"your organization has been disabled(?: for violating our usage policies)?\.?",
    r"organization has been restricted\. please reach out to support if you believe this was in error\.?",
    r"you don't have access to the model with the specified model id\.?",
)
_UNNAMED_MODEL_SENTENCES: Final = _any_of(
    r"model not exist\.?",
    r"model not found(?:, inaccessible, and/or not deployed)?\.?",
    r"the provided model identifier is invalid\.?",
    r"the api deployment for this resource does not exist\.(?: if you created the deployment within the last 5 minutes,"
    r" please wait a moment and try again\.?)?",
    r"the (?:requested |specified )?model (?:does not exist|is not available|was not found)\.?",
)
"""Sentences that name no model: they can only mean the one in the request."""
_GONE: Final = (
    r"(?:does ?n[o']t exist|(?:is |was )?not (?:be )?found|not exist|(?:is |has been )(?:deprecated|decommissioned"
    r"|retired|removed|shut ?down)|is no longer (?:supported|available|served)|is not available)"
)
_REST: Final = (
    r"(?: or you do not have access to it| and is no longer supported|, try pulling it first"
    r"| for api version \w{1,20}, or is not supported for generatecontent)?"
    r"(?:\. (?:please|call|see|for|refer|learn|visit|if)\b[^'\"`]{0,300})?[.!]?"
)


def proves_key_refused(error: ProviderError) -> bool:
    if error.status == 401:
        return True
    if error.status not in _KEY_STATUSES:
        return False
    unambiguous = vocabulary.CREDENTIAL_CODES - vocabulary.AMBIGUOUS_CREDENTIAL_CODES
    return not unambiguous.isdisjoint(error.trusted_codes) or _matches(_KEY_SENTENCES, error.message)


def proves_budget_spent(error: ProviderError) -> bool:
    if error.status == 402:
        return True
    if error.status not in _BUDGET_STATUSES:
        return False
    spent = not vocabulary.BUDGET_CODES.isdisjoint(error.trusted_codes)
    return spent or _matches(_BUDGET_SENTENCES, error.message)


def proves_rate_limit(error: ProviderError) -> bool:
    if error.status in _RATE_LIMIT_STATUSES or "429" in error.trusted_codes:
        return True
    return not vocabulary.RATE_LIMIT_CODES.isdisjoint(error.trusted_codes)


def proves_model_missing(error: ProviderError, sent: str) -> bool:
    """`sent`: the model name in the request to the provider. The application's text may name other models, in a tool
    for instance.
    """
    if error.status not in _MODEL_STATUSES or (error.parameter or "model") != "model":
        return False
    message, sent = error.message.lower(), sent.lower()
    if _matches(_missing_model_sentences(sent), message) or _matches(_UNNAMED_MODEL_SENTENCES, message):
        return True
    coded = not vocabulary.MODEL_CODES.isdisjoint(error.trusted_codes)
    return coded and _names_no_other(message, sent)


def _matches(sentences: re.Pattern[str], message: str) -> bool:
    return sentences.fullmatch(message.lower()) is not None


@lru_cache(maxsize=256)
def _missing_model_sentences(sent: str) -> re.Pattern[str]:
    """Sentences that report the model named `sent`, in lower case, as not served."""
    name = rf"[`'\"]?(?:models/)?{re.escape(sent)}[`'\"]?"
    return _any_of(
        rf"(?:the )?(?:requested |specified )?models?:? {name} {_GONE}{_REST}",
        rf"models/{re.escape(sent)} is {_GONE}{_REST}",
        rf"models/{re.escape(sent)} {_GONE}{_REST}",
        rf"{name} is not a valid model(?: id| name)?\.?",
        rf"(?:invalid|unknown) model(?: name)?:? {name}\.?",
        rf"no such model:? {name}(?: or task)?\.?",
        rf"no (?:allowed )?endpoints found for {name}\.?",
        rf"not found the model {name}(?: or permission denied)?\.?",
        rf"model: {name}",
    )


def _names_no_other(message: str, sent: str) -> bool:
    quoted = _QUOTED.findall(message)
    if quoted:
        return any(_is_same_model(name, sent) for name in quoted)
    words = strip_urls(message).split()
    names = [word.strip(".,;:()!") for word in words if _LIKE_A_MODEL_NAME.search(word)]
    return not names or any(_is_same_model(name, sent) for name in names)


def _is_same_model(name: str, sent: str) -> bool:
    """Whether the names are equal except for a version or vendor: `gpt-4o-2024-08-06`, `openai/gpt-4o` for `gpt-4o`."""
    name = name.removeprefix("models/")
    return name == sent or name.startswith((f"{sent}-", f"{sent}:")) or sent.endswith(f"/{name}")
