"""What is a candidate, and what hostile text costs."""

from __future__ import annotations

import time
from typing import Final

import pytest

from services.worker.guard.candidates import WINDOW_CHARACTERS, Segmenter
from tests.harness.guard.streamed_texts import pieces_of

_BEGIN: Final = f"-----BEGIN {'PRIVATE'} KEY-----\n"
_END: Final = f"\n-----END {'PRIVATE'} KEY-----"


def _suspicious(text: str) -> list[str]:
    return [each.text for each in pieces_of([text], WINDOW_CHARACTERS) if each.suspicious]


@pytest.mark.parametrize(
    "text",
    [
        "Order 4711 of 2024-10-15 12:30 costs 1,234.56 euros, or 12.345.678,90; pi is 3.141592653589793.",
        "Заказ от 15.10.2024 на 1 234,50 рублей, 12 штук; 08:00-17:00.",
        "id 019a9f3e-5b7c-7d21-8a40-0c6f1e2d3b4a, v1.25.3-alpine3.18, sha256 and x86_64-unknown-linux-gnu",
        "def test_g3_every_text_of_a_body_is_read(self, value: list[int]) -> None: x = y2 + z_3",
        "const userById2 = getUserById2(users[3]); std::vector<int> v(10);",
        "@app.get('/v1/models') def models(): return {'a': 1}",
        "react@18.2.0 and #42, [EMAIL_1], a - b + 12 / 3 = 4 * (5 - 6)",
        '{"created": 1763900000, "at_ms": 1763900000123, "count": 12345678}',
        "AbstractSingletonProxyFactoryBean, aVeryLongCamelCaseNameOfAMethod, some-long-kebab-case-name",
        "run py39 test case on ab12 with this and that; see ch12 page 7",
        "你好，世界。今天是2024年10月15日。",
    ],
)
def test_g3_plain_text_is_no_candidate(text: str) -> None:
    assert _suspicious(text) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Ask o'brien.x@mail.example, please", ["o'brien.x@mail.example,"]),
        ("call + 7 (495) 123 - 45 - 67 now", ["+ 7 (495) 123 - 45 - 67"]),
        ("паспорт 4513, № 445641 выдан", ["4513, № 445641"]),
        ("паспорт 45 13 номер 445641", ["45 13 номер 445641"]),
        ("IBAN GB29 NWBK 6016 1331 9268 19 THEN", ["GB29 NWBK 6016 1331 9268 19"]),
        ("my iban nl91 abna  0417 1643 00 then", ["nl91 abna  0417 1643 00"]),
        ("паспорт 45 13 номер: 445641 выдан", ["45 13 номер: 445641"]),
        ("ИНН/КПП 7707083893/770701001, Москва", ["7707083893/770701001,"]),
        ("from ::ffff:1.2.3.4 now", ["::ffff:1.2.3.4"]),
        ("kart 5400.3619.2222.2444 ile", ["5400.3619.2222.2444"]),
        ('{"pass\\": 1, "password": "kJhGfDsAqW"}', ['kJhGfDsAqW"']),
        ("PASSWORD=correct4horse", ["PASSWORD=correct4horse"]),
        ("from fe80::1 or 1.2.3.4", ["fe80::1", "1.2.3.4"]),
        ("电话13800138000。", ["13800138000"]),
        (r'{"a": "Regards\nanna@mail.example\r\n"}', ["anna@mail.example"]),
        (r'{"a": "\u00e9 anna\u0040mail.example"}', [r"anna\u0040mail.example" + '"']),
        (r'{"a": "{\"b\": \"x\\nanna@mail.example\"}"}', [r"anna@mail.example\""]),
        (r'{"a": "p\u0061ssword: correct4horse"}', ['correct4horse"']),
        ("hf" + "_" + "abcdefghijklmnopqrst", ["hf" + "_" + "abcdefghijklmnopqrst"]),
    ],
)
def test_g3_candidates_are_whole_units(text: str, expected: list[str]) -> None:
    assert _suspicious(text) == expected


def test_g3_plain_text_is_released_up_to_its_last_word() -> None:
    segmenter = Segmenter()
    released = [
        "".join(each.text for each in segmenter.push(word)) for word in ("Hel", "lo wor", "ld", ", and", " ")
    ]
    assert released == ["", "Hello ", "", "world, ", "and "]
    assert segmenter.end() == []


def test_g3_a_long_private_key_is_followed_to_its_end_without_being_held_back() -> None:
    body = "\n".join(["aB3x" * 16] * 20)
    text = f"key:\n{_BEGIN}{body}{_END}\nDone."
    pieces = [each for each in pieces_of(list(text), WINDOW_CHARACTERS) if each.suspicious or each.continues]
    assert pieces[0].opens == "private_key"
    assert all(each.continues and not each.suspicious for each in pieces[1:])
    assert "".join(each.text for each in pieces) == _BEGIN + body + _END


def test_g3_a_placeholder_of_a_private_key_is_not_followed() -> None:
    text = f"{_BEGIN}...{_END} Done. " + "words " * 200
    assert not any(each.opens or each.continues for each in pieces_of(list(text), WINDOW_CHARACTERS))


@pytest.mark.parametrize("separator", [" ", "\n", "\\n"])
def test_g3_text_after_a_private_key_that_breaks_off_is_shown(separator: str) -> None:
    text = _BEGIN + "\n".join(["aB3x" * 16] * 20) + f"{separator}And so on, with other words."
    plain = [
        each.text
        for each in pieces_of(list(text), WINDOW_CHARACTERS)
        if not each.suspicious and not each.continues
    ]
    assert "".join(plain).endswith("And so on, with other words.")


_HOSTILE: Final = (
    *("1", "1 ", "4111 1111 1111 1111 ", "@", "a@", "a@b.", "aB", "aB3x", "-----BEGIN ", _BEGIN, "\n", " ", "'", "a'"),
    *("eyJ", "eyJabcdefgh.", "Abc: d\n", "password=", "DE89 3704 ", "1:", "1.", "://a:", "01234567-", "+ "),
    *('"abcdefgh', _BEGIN + "A" * 600 + "\n", _BEGIN + "A" * 600 + "\n" * 300, "key a1b2c3d4 "),
)  # fmt: skip


@pytest.mark.parametrize("part", _HOSTILE)
def test_g3_hostile_text_takes_linear_time_and_bounded_memory(part: str) -> None:
    """Bounds are ten times what the slowest of these takes; a quadratic scan would take minutes."""
    size = 100_000
    text = (part * (size // len(part) + 1))[:size]
    began_s = time.process_time()
    pieces_of([text], WINDOW_CHARACTERS)
    assert time.process_time() - began_s < 2.0
    began_s = time.process_time()
    pieces_of(list(text[: size // 10]), WINDOW_CHARACTERS)
    assert time.process_time() - began_s < 1.0
