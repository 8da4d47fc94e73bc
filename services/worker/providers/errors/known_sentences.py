"""Whole messages by which providers say that a key is not valid, that an account has no money left, or that a model is
not served. Each is matched from its first character to its last: a message that repeats some of the request is longer,
or other, and so is no proof of anything.

Compared in lower case. Sources: the samples of `tests/unit/worker/error_samples.py`, read in November 2026.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

__all__ = ["names_missing_model", "says_key_refused", "says_model_missing", "says_money_spent"]

_LINK: Final = r"(?:https?://)?[\w.-]{1,60}(?:/[\w./?=#-]{0,120})?"
_KEY: Final = r"[`'\"]?[\w*.…-]{1,200}[`'\"]?"
_NAME: Final = r"[`'\"]?[\w-]{1,64}[`'\"]?"


def _any(*sentences: str) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{sentence})" for sentence in sentences))


_MONEY: Final = _any(
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
_KEYS: Final = _any(
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
_NO_MODEL: Final = _any(
    r"model not exist\.?",
    r"model not found(?:, inaccessible, and/or not deployed)?\.?",
    r"the provided model identifier is invalid\.?",
    r"the api deployment for this resource does not exist\.(?: if you created the deployment within the last 5 minutes,"
    r" please wait a moment and try again\.?)?",
    r"the (?:requested |specified )?model (?:does not exist|is not available|was not found)\.?",
)
_GONE: Final = (
    r"(?:does ?n[o']t exist|(?:is |was )?not (?:be )?found|not exist|(?:is |has been )(?:deprecated|decommissioned"
    r"|retired|removed|shut ?down)|is no longer (?:supported|available|served)|is not available)"
)
_REST: Final = (
    r"(?: or you do not have access to it| and is no longer supported|, try pulling it first"
    r"| for api version \w{1,20}, or is not supported for generatecontent)?"
    r"(?:\. (?:please|call|see|for|refer|learn|visit|if)\b[^'\"`]{0,300})?[.!]?"
)


def says_money_spent(message: str) -> bool:
    return _MONEY.fullmatch(message) is not None


def says_key_refused(message: str) -> bool:
    return _KEYS.fullmatch(message) is not None


def says_model_missing(message: str) -> bool:
    """Without naming one: it can only be the one that was called."""
    return _NO_MODEL.fullmatch(message) is not None


def names_missing_model(message: str, sent: str) -> bool:
    """Whether the whole message says that the model of the name `sent`, in lower case, is not served."""
    return _of(sent).fullmatch(message) is not None


@lru_cache(maxsize=256)
def _of(sent: str) -> re.Pattern[str]:
    name = rf"[`'\"]?(?:models/)?{re.escape(sent)}[`'\"]?"
    return _any(
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
