"""What the safety guard reported, replaced or blocked, in plain words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from penstock.contract.guard.policies import Direction
from penstock.contract.reply import GuardedContent

__all__ = ["blocked_text", "guarded_lines", "unchecked_lines"]

_PLAIN: Final = {
    "secrets": "secret",
    "secrets/aws_access_key": "AWS access key",
    "secrets/jwt": "JSON web token",
    "secrets/openai_key": "OpenAI key",
    "secrets/url_password": "password in a URL",
    "secrets/generic_secret": "secret",
    "secrets/other_secret": "secret",
    "personal_data/email": "e-mail address",
    "personal_data/iban": "IBAN",
    "personal_data/ip_address": "IP address",
    "personal_data/phone": "phone number",
    "personal_data/ru_inn": "Russian tax number",
    "personal_data/ru_passport": "Russian passport",
    "personal_data/ru_snils": "Russian insurance number (SNILS)",
    "personal_data/tr_tckn": "Turkish identity number",
    "personal_data/us_ssn": "US social security number",
}
"""Names of which the last part with blanks is no plain English."""
_WHERE: Final = {"input": "the request", "output": "the answer"}
_WHAT: Final = {"flag": "found in", "redact": "replaced by placeholders in"}


def guarded_lines(guarded: Sequence[GuardedContent]) -> list[str]:
    """A line for each direction and action, as `safety guard, replaced by placeholders in the request: e-mail address
    (2)`.
    """
    groups: dict[str, list[str]] = {}
    for each in guarded:
        times = f" ({each.count})" if each.count > 1 else ""
        head = f"safety guard, {_WHAT[each.action]} {_WHERE[each.direction]}"
        groups.setdefault(head, []).append(_plain(each.name) + times)
    return [f"{head}: {', '.join(names)}" for head, names in groups.items()]


def unchecked_lines(unchecked: Iterable[Direction]) -> list[str]:
    """A line for each direction in which content passed without a check."""
    return [f"safety guard, not completely checked: {_WHERE[each]}" for each in unchecked]


def blocked_text(categories: Iterable[str]) -> str:
    """The categories of a refusal in words, each with its name in policies where that differs."""
    texts = {name: _plain(name) for name in categories}
    return ", ".join(text if text == name else f"{text} ({name})" for name, text in texts.items())


def _plain(name: str) -> str:
    category, _, kind = name.partition("/")
    found = _PLAIN.get(name) or (kind if category in ("secrets", "personal_data") and kind else name)
    return found.replace("_", " ").replace("/", ", ")
