"""Ways in which people write numbers and connection strings, with synthetic values, and what only looks like them."""

from __future__ import annotations

from typing import Final

__all__ = ["FORMS", "HARMLESS_FORMS", "connection_strings"]

FORMS: Final = [
    # A slash between two numbers.
    ("реквизиты: ИНН/КПП 7738728622/773801001, Москва", "ru_inn", "7738728622"),
    ("КПП/ИНН: 773801001/7749122583", "ru_inn", "7749122583"),
    ("ИНН/ОГРН 7732714648/1027700132195", "ru_inn", "7732714648"),
    ("card 4276181689918032/12/28/123", "payment_card", "4276181689918032"),
    ("телефон 89261740512/13", "phone", "89261740512"),
    # Groups of digits.
    ("инн директора 5047 8802 2608", "ru_inn", "5047 8802 2608"),
    ("ИНН: 505-622-826-444", "ru_inn", "505-622-826-444"),
    ("ИНН\u00a077\u00a0387\u00a028622 и 12 штук", "ru_inn", "77\u00a0387\u00a028622"),
    ("tckn: 889 370 419 76", "tr_tckn", "889 370 419 76"),
    ("T.C. kimlik no 870-100-131-90", "tr_tckn", "870-100-131-90"),
    ("kimlik numarası 37\u00a0909\u00a0852\u00a0126", "tr_tckn", "37\u00a0909\u00a0852\u00a0126"),
    ("СНИЛС 168–737–137 12", "ru_snils", "168–737–137 12"),
    ("SSN 536\u201190\u20114377", "us_ssn", "536\u201190\u20114377"),
    ("серия и номер паспорта 45-08 123456", "ru_passport", "45-08 123456"),
    ("паспорт 4508/123456", "ru_passport", "4508/123456"),
    ("паспорт 45 08 номер: 123456", "ru_passport", "45 08 номер: 123456"),
    ("paid with 4276.1816.8991.8032", "payment_card", "4276.1816.8991.8032"),
    ("kart 5536  8262  9002  3456 ile", "payment_card", "5536  8262  9002  3456"),
    ("22023267 42206130", "payment_card", "22023267 42206130"),
    ("4154\u202f5459\u202f3598\u202f1274", "payment_card", "4154\u202f5459\u202f3598\u202f1274"),
    ("3742.375489.53930", "payment_card", "3742.375489.53930"),
    ("5213 – 5998 – 4855 – 9624", "payment_card", "5213 – 5998 – 4855 – 9624"),
    ("my card is 42 76 18 16 89 91 80 32", "payment_card", "42 76 18 16 89 91 80 32"),
    # An IBAN in small letters, with hyphens, in uneven groups.
    ("it's de87 9783 3420 9355 9707 36, thanks", "iban", "de87 9783 3420 9355 9707 36"),
    ("mijn rekening nl75 rabo 0041 2266 15", "iban", "nl75 rabo 0041 2266 15"),
    ("iban: Gb56 Nwbk 3662 9142 5240 68", "iban", "Gb56 Nwbk 3662 9142 5240 68"),
    ("nl75rabo0041226615", "iban", "nl75rabo0041226615"),
    ("NL75 RABO0041 226615", "iban", "NL75 RABO0041 226615"),
    ("GB56-NWBK-3662-9142-5240-68", "iban", "GB56-NWBK-3662-9142-5240-68"),
    ("tr66-0001-0048-6007-0301-6483-56 hesabına", "iban", "tr66-0001-0048-6007-0301-6483-56"),
    ("DE87 97833420 9355970736", "iban", "DE87 97833420 9355970736"),
    ("GB56  NWBK  3662  9142  5240  68 PLC", "iban", "GB56  NWBK  3662  9142  5240  68"),
    (
        "TR66\u202f0001\u202f0048\u202f6007 0301 6483 56!",
        "iban",
        "TR66\u202f0001\u202f0048\u202f6007 0301 6483 56",
    ),
    # A number that belongs to a person.
    ("запишите мой номер 89161234577", "phone", "89161234577"),
    ("Её новый номер: 89031234577", "phone", "89031234577"),
    ("переведите по номеру 89161234577", "phone", "89161234577"),
    ("numaram 05321234577", "phone", "05321234577"),
    ("Numaranız 05321234577 mi?", "phone", "05321234577"),
    ("my number is 2128675307", "phone", "2128675307"),
    ("meine Nummer lautet 01712345677", "phone", "01712345677"),
    # IPv4 within IPv6.
    ('{"peer":"::ffff:95.217.33.4"}', "ip_address", "::ffff:95.217.33.4"),
    ("[::FFFF:95.217.33.4]:443", "ip_address", "::FFFF:95.217.33.4"),
    ("from ::ffff:5fd9:2104 now", "ip_address", "::ffff:5fd9:2104"),
    ("0:0:0:0:0:ffff:95.217.33.4", "ip_address", "0:0:0:0:0:ffff:95.217.33.4"),
    ("via 64:ff9b::95.217.33.4", "ip_address", "64:ff9b::95.217.33.4"),
]
"""Text, kind, value."""
HARMLESS_FORMS: Final = [
    "GET /inn/7738728622/773801001 and ИНН /orders/7738728622/items",
    "ИНН с 2024-10-15 12 раз; ИНН, сумма 1 234 567 890; ИНН 12.03.2024 10",
    "Паспорт изделия № 4508 123456, паспорт насоса 4508 123456, техпаспорт 4508 123456",
    "Технический паспорт серия 4508 № 123456; паспорт ТС 45 08 123456; device passport 4508 123456",
    "| SKU | Qty |\n|---|---|\n| 536-90-4377 | 4 |\n| 536-90-4381 | 2 |",
    "артикул, остаток\n536-90-4377, 4\n536-90-4381, 2",
    "4000 0000 0000 0002, 4000 0025 0000 3155, 5200 8282 8282 8210, 5424000000000015, 6011 0000 0000 0004",
    "мой номер заказа 89161234577, ваш номер полиса 89161234577, kart numaram 05321234577",
    "ab12 this is the text and py39 test case with 1234 more",
    "::ffff:127.0.0.1 ::ffff:10.1.2.3 ::ffff:8.8.8.8 ::ffff:0a01:0203 64:ff9b::10.1.2.3",
    "std::ffff::95 and x::ffff",
    "GB56 NWB K36 629142524068",
    "order 88 93 70 41 97 61, 889 370 419 77",
]


def connection_strings(key: str) -> list[str]:
    """Settings of connections, in which only the key is secret."""
    return [
        "Endpoint=sb://shop.servicebus.windows.net/;SharedAccessKeyName=Root;SharedAccessKey=" + key,
        "DefaultEndpointsProtocol=https;AccountName=shop;AccountKey="
        + key
        + ";EndpointSuffix=core.windows.net",
        "HostName=hub.azure-devices.net;DeviceId=pump;SharedAccessKey=" + key,
        "Server=tcp:db.shop.internal;User Id=sa;Password=" + key + ";Encrypt=True",
    ]
