"""Personal data in texts: each kind in its written forms, and what only looks alike."""

from __future__ import annotations

import pytest

from tests.harness.guard.findings import found_in

FOUND = [
    ("Write to Anna.Smith+x@gmail.com.", "email", "Anna.Smith+x@gmail.com"),
    ("почта:ivan.petrov@почта.рф, срочно", "email", "ivan.petrov@почта.рф"),
    ("<mailto:ayse@kayalar.com.tr>", "email", "ayse@kayalar.com.tr"),
    ("or call +7 (916) 123-45-67.", "phone", "+7 (916) 123-45-67"),
    ("тел. 89161234567", "phone", "89161234567"),
    ("Звоните 8 (495) 223-45-67 до шести", "phone", "8 (495) 223-45-67"),
    ("ara beni 0532 123 45 67", "phone", "0532 123 45 67"),
    ("Cep: 0(532) 123 4567", "phone", "0(532) 123 4567"),
    ("my office: (212) 867-5309", "phone", "(212) 867-5309"),
    ("dial 212.867.5309 now", "phone", "212.867.5309"),
    ("Tel.: 030 / 23 45 67 88", "phone", "030 / 23 45 67 88"),
    ("00 49 as prefix: 0049 171 2345678", "phone", "0049 171 2345678"),
    ("text me on 07911 123456", "phone", "07911 123456"),
    ("paid by 4000 1234 5678 9017 today", "payment_card", "4000 1234 5678 9017"),
    ("order 1234 5512-3456-7890-1223", "payment_card", "5512-3456-7890-1223"),
    ("карта МИР 2200123456789019", "payment_card", "2200123456789019"),
    ("troy 9792 1234 5678 9018", "payment_card", "9792 1234 5678 9018"),
    ("3712 345678 90120", "payment_card", "3712 345678 90120"),
    ("IBAN DE89 3704 0044 0532 0130 00 BANK AG", "iban", "DE89 3704 0044 0532 0130 00"),
    ("TR330006100519786457841326'ya", "iban", "TR330006100519786457841326"),
    ("from 95.217.33.4.", "ip_address", "95.217.33.4"),
    ("ip=95.217.33.4:443", "ip_address", "95.217.33.4"),
    ("2a02:6b8::2:242 answered", "ip_address", "2a02:6b8::2:242"),
    ("ИНН организации: 7707083893", "ru_inn", "7707083893"),
    ('{"inn": "500100732259"}', "ru_inn", "500100732259"),
    ("СНИЛС 112-233-445 95", "ru_snils", "112-233-445 95"),
    ("номер 112-233-445-95", "ru_snils", "112-233-445-95"),
    ("snils: 11223344595", "ru_snils", "11223344595"),
    ("паспорт серия 4508 № 123456", "ru_passport", "4508 № 123456"),
    ("Паспорт: 45 08 123456, выдан", "ru_passport", "45 08 123456"),
    ("TC kimlik no: 10000000146", "tr_tckn", "10000000146"),
    ("10000000146 numaralı vatandaş", "tr_tckn", "10000000146"),
    ("SSN 536-90-4399", "us_ssn", "536-90-4399"),
    ("social security number is 536904399", "us_ssn", "536904399"),
]
HARMLESS = [
    r'{"code": "import app\n@app.get(path)"}',
    r'{"code": "import pytest\r\n@pytest.fixture"}',
    "mail john@example.com, root@localhost, a@b.test, x@y.invalid, noreply@service.io",
    "git clone git@github.com:penstock/penstock.git",
    "logo@2x.png and lodash@4.17.21 and @anna_smith",
    "ssh deploy@build.internal.net:/srv/app",
    "call 1-800-555-0199 or (212) 555-0123",
    "550e8400-e29b-41d4-a716-446655440000",
    "order 4111111111111112, tracking 7700000000, id 1700000000, at 1700000000123",
    "версия 95.217.33.4, v95.217.33.4, pkg==95.217.33.4, Chrome/95.217.33.4, 1.95.217.33.4",
    "10.1.2.3 192.168.0.1 127.0.0.1 192.0.2.7 198.51.100.1 203.0.113.9 8.8.8.8 ::1 fe80::1 2001:db8::5",
    "allow 95.217.33.0/24",
    "заказ 7707083893 на сумму 500100",
    "SSN 000-12-3456, 666-12-3456, 912-12-3456, 123-00-4567, 123-45-0000, XXX-XX-1234",
    "2026-11-30 12:30:45.123456, 0.4000123456789017, 3.14159265358979",
    "sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "IBAN XX00 0000 0000 0000 0000 00, DE00 0000 0000 0000 0000 00",
    "/orders/4000123456789017/items",
]


@pytest.mark.parametrize(("text", "kind", "value"), FOUND)
def test_g6_personal_data_is_found_at_its_place(personal_data_detector, text, kind, value):
    assert found_in(personal_data_detector, text) == [(kind, value)]


@pytest.mark.parametrize("text", HARMLESS)
def test_g6_harmless_numbers_and_addresses_are_not_reported(personal_data_detector, text):
    assert found_in(personal_data_detector, text) == []


def test_g6_the_word_before_a_number_decides_what_it_is(personal_data_detector):
    text = "ИНН 500100732259, СНИЛС 11223344595, тел. 89161234567, паспорт 4508 123456"
    kinds = [kind for kind, _ in found_in(personal_data_detector, text)]
    assert kinds == ["ru_inn", "ru_snils", "phone", "ru_passport"]


def test_g6_a_place_in_a_text_of_several_alphabets_is_in_characters(personal_data_detector):
    text = "Şükrü 😀 пишет: \ud800 ivan@mail.ru и 😀 +7 916 123-45-67"
    assert found_in(personal_data_detector, text) == [
        ("email", "ivan@mail.ru"),
        ("phone", "+7 916 123-45-67"),
    ]
