"""What the safety guard reported, replaced or blocked, in plain words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from penstock.cli.render.counting import counted
from penstock.contract.guard.places import LeftOut
from penstock.contract.guard.policies import Direction
from penstock.contract.reply import GuardedContent
from penstock.runtime.guard.place_words import place_text

__all__ = ["blocked_text", "guarded_lines", "left_out_lines", "unchecked_lines"]

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
_SHOWN_PLACES: Final = 5
_WHERE: Final = {"input": "the request", "output": "the answer"}
_WHAT: Final = {"flag": "found in", "redact": "replaced by placeholders in"}


def guarded_lines(guarded: Sequence[GuardedContent]) -> list[str]:
    """A line for each direction and action, as `safety guard, replaced by placeholders in the request: e-mail address
    (2)`.
    """
    groups: dict[str, list[str]] = {}
    for each in guarded:
        details = [str(each.count)] if each.count > 1 else []
        details += (place_text(place) for place in each.places[:_SHOWN_PLACES])
        details += ["…"] if len(each.places) > _SHOWN_PLACES else []
        times = f" ({', '.join(details)})" if details else ""
        head = f"safety guard, {_WHAT[each.action]} {_WHERE[each.direction]}"
        groups.setdefault(head, []).append(_plain(each.name) + times)
    return [f"{head}: {', '.join(names)}" for head, names in groups.items()]


def left_out_lines(left_out: Sequence[LeftOut]) -> list[str]:
    """A line with the number of passages that the model was not given, and one with that of earlier turns, as `safety
    guard, 1 passage was left out: guide.md (prompt injection)`.
    """
    lines: list[str] = []
    for kind, noun in (("passage", "passage"), ("turn", "earlier turn")):
        out = [each for each in left_out if each.kind == kind]
        named = [f"{each.name} ({', '.join(map(_plain, each.findings))})" for each in out]
        shown = list(dict.fromkeys(named))[:_SHOWN_PLACES]
        more = ", …" if len(set(named)) > len(shown) else ""
        were = "was" if len(out) == 1 else "were"
        if out:
            lines.append(f"safety guard, {counted(len(out), noun)} {were} left out: {', '.join(shown)}{more}")
    return lines


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
