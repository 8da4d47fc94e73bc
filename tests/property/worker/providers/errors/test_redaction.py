"""A6: no key, nor a recognizable part of one, reaches users, in any spelling of a provider."""

from __future__ import annotations

import json
from html import escape
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.worker.providers.errors.classify import failure_of_status
from services.worker.providers.errors.failures import ProviderFailure
from services.worker.providers.errors.redaction import redact

KEY = "sk-Secret0a1b2c3d4e5f6g7h8i9j-XYZ_987"
OTHER = "gsk_9z8y7x6w5v4u3t2s1r0q"
PLAIN = "".join(character for character in KEY.lower() if character.isalnum())
SPELLINGS = {
    "unchanged": KEY,
    "percent": quote(KEY, safe="").replace("-", "%2D").replace("_", "%5f"),
    "percent, every character": "".join(f"%{ord(each):02X}" for each in KEY),
    "percent, twice": "".join(f"%25{ord(each):02x}" for each in KEY),
    "json": "".join(f"\\u{ord(each):04x}" for each in KEY),
    "json, twice": "".join(f"\\\\u{ord(each):04x}" for each in KEY),
    "python": "".join(f"\\x{ord(each):02x}" for each in KEY),
    "html": "".join(f"&#{ord(each)};" for each in KEY),
    "html, hexadecimal": "".join(f"&#x{ord(each):x};" for each in KEY),
    "upper": KEY.upper(),
    "lower": KEY.lower(),
    "blanks": " ".join(KEY),
    "lines": "\n".join(KEY[at : at + 5] for at in range(0, len(KEY), 5)),
    "written line ends": "\\n".join(KEY[at : at + 5] for at in range(0, len(KEY), 5)),
    "zero width": "\u200b".join(KEY),
    "with another": KEY + OTHER,
    "its middle": KEY[9:25],
    "its end": KEY[20:],
}


def _letters(text: str) -> str:
    return "".join(character for character in text.lower() if character.isalnum())


def _contains_key(text: str) -> bool:
    """Whether the text contains eight letters in a row of the key."""
    return any(PLAIN[at : at + 8] in _letters(text) for at in range(len(PLAIN) - 7))


@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)
@pytest.mark.parametrize("around", ["{}", "the key {} is wrong", "https://x/?key={}&b=1", "({})"])
def test_a6_no_spelling_of_a_key_is_reported(spelling: str, around: str) -> None:
    text = redact(around.replace("{}", spelling), {KEY, OTHER})
    assert "…" in text
    assert not _contains_key(text)
    assert spelling not in text


@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)
@pytest.mark.parametrize("before", [0, 40, 290, 300, 470, 490, 950, 990])
def test_a6_no_field_of_a_failure_contains_a_key(spelling: str, before: int) -> None:
    message = "a " * (before // 2) + spelling
    page = f"<html><title>{escape(message)}</title></html>"
    for error in (
        {"message": message, "code": spelling, "type": spelling, "param": spelling, "status": spelling},
        {"message": page, "detail": "second"},
        {"message": "x", "metadata": {"provider_name": message, "raw": message}},
        {"message": json.dumps({"error": {"message": message, "code": spelling}})},
    ):
        failure = failure_of_status(400, json.dumps({"error": error}).encode(), {}, 0.0)
        failure.redact({KEY, OTHER})
        error_of_provider = failure.error
        assert error_of_provider is not None
        fields = (
            error_of_provider.message,
            error_of_provider.code,
            error_of_provider.type,
            error_of_provider.parameter,
        )
        for text in (str(failure), *fields, *error_of_provider.codes, *error_of_provider.trusted_codes):
            assert not _contains_key(text or ""), text


def test_a6_a_key_cut_off_in_a_page_title_is_redacted() -> None:
    body = {"error": {"message": f"<html><title>{'a' * 285}{KEY}</title></html>", "detail": "second"}}
    failure = failure_of_status(400, json.dumps(body).encode(), {}, 0.0)
    failure.redact({KEY})
    assert "sk-Secret" not in str(failure)
    assert "second" in str(failure)


@given(text=st.text(), key=st.text("abcdef0123456789", min_size=8, max_size=40))
def test_text_without_a_key_stays_unchanged(text: str, key: str) -> None:
    letters = _letters(text)
    if not any(key[at : at + 6] in letters for at in range(len(key) - 5)) and not set("%\\&") & set(text):
        assert redact(text, {key}) == text


@given(
    before=st.text(max_size=30), after=st.text(max_size=30), cut=st.integers(8, len(KEY)), upper=st.booleans()
)
def test_a6_a_part_of_a_key_is_redacted_anywhere(before: str, after: str, cut: int, *, upper: bool) -> None:
    part = KEY[:cut].upper() if upper else KEY[:cut]
    text = redact(f"{before} {part} {after}", {KEY})
    assert part not in text or len(_letters(part)) < 8


@pytest.mark.timeout(5)
@pytest.mark.parametrize("text", ["%" * 60_000, "\\" * 60_000, "&#" * 30_000, KEY * 1_000, "a" * 60_000])
def test_redaction_takes_bounded_time(text: str) -> None:
    failure = ProviderFailure("refused", text)
    redact(text[:4_000], {KEY, OTHER})
    failure.redact({KEY, OTHER})
