"""E-mail addresses, phone numbers and IP addresses that are not in use."""

from __future__ import annotations

import ipaddress
import random
import string
from typing import Final

from tests.harness.guard.value_parts import Maker, template

_FIRST: Final = (
    *(
        "anna",
        "peter",
        "mehmet",
        "elif",
        "ivan",
        "olga",
        "sarah",
        "john",
        "lena",
        "ayse",
        "dmitry",
        "k.brandt",
    ),
    *("maria", "tom", "burak", "svetlana", "jürgen", "zeynep", "n.petrova", "lucas", "emre", "irina", "paul"),
)


_LAST: Final = (
    *(
        "schmidt",
        "ivanova",
        "yilmaz",
        "demir",
        "oneill",
        "carter",
        "volkov",
        "sokolova",
        "kaya",
        "meyer",
        "lee",
    ),
    *(
        "fischer",
        "kuznetsov",
        "celik",
        "garcia",
        "dubois",
        "nowak",
        "hansen",
        "orlov",
        "arslan",
        "weber",
        "clark",
    ),
)


_MAIL_HOSTS: Final = (
    *(
        "gmail.com",
        "yandex.ru",
        "mail.ru",
        "outlook.com",
        "hotmail.com",
        "icloud.com",
        "gmx.de",
        "web.de",
        "bk.ru",
    ),
    *("proton.me", "nordwind-logistik.de", "novator.ru", "kayalar-insaat.com.tr", "mail.hartley-law.co.uk"),
    *(
        "lindgren-shop.se",
        "stud.uni-hd.de",
        "ttmail.com",
        "clinic-mitte.berlin",
        "superonline.com",
        "contoso-labs.io",
    ),
)


def _email(rng: random.Random) -> str:
    first, last = rng.choice(_FIRST).replace("ü", "ue"), rng.choice(_LAST)
    name = rng.choice(
        [
            f"{first}.{last}",
            f"{first}_{last}{rng.randrange(60, 100)}",
            f"{first[0]}.{last}",
            f"{last}.{first[0]}{rng.randrange(10)}",
            f"{first}{last}",
            f"{first}+{rng.choice(['shop', 'news', 'jira'])}",
            f"{first.title()}.{last.title()}",
            f"{first}-{last}",
        ],
    )
    host = rng.choice(_MAIL_HOSTS)
    return f"{name}@{host}" if rng.random() < 0.95 else f"{name}@{host}".upper()


def _not_email(rng: random.Random) -> str:
    first = rng.choice(["anna", "john", "user", "test", "ivan", "info"])
    return rng.choice(
        [
            f"{first}@example.com",
            f"{first}@example.org",
            f"{first}@mail.test",
            f"{first}@host.invalid",
            f"{first}@localhost",
            f"{first} at gmail",
            f"@{first}_{rng.choice(_LAST)}",
            f"logo@{rng.randrange(2, 4)}x.png",
            f"lodash@{rng.randrange(1, 9)}.{rng.randrange(20)}.{rng.randrange(20)}",
            f"{first}@",
        ],
    )


_AREAS: Final = (
    "202",
    "206",
    "212",
    "303",
    "305",
    "312",
    "404",
    "415",
    "503",
    "512",
    "617",
    "646",
    "702",
    "713",
    "818",
)
"""Area codes of the United States that are in use: @ in a pattern."""
_PHONE_PATTERNS: Final = {
    "ru": (
        *("+7 (9A#) ###-##-##", "+7 9A# ###-##-##", "+79A########", "+7-9A#-###-##-##", "8 (9A#) ###-##-##"),
        *(
            "8-9A#-###-##-##",
            "8 9A# ### ## ##",
            "+7 9A# ### ## ##",
            "8 (495) B##-##-##",
            "+7 (812) B##-##-##",
        ),
        *("89A########", "+7(9A#)###-##-##"),
    ),
    "tr": (
        *("+90 5C# B## ## ##", "+905C#B######", "0 (5C#) B## ## ##", "05C# B## ## ##", "+90 (5C#) B## ## ##"),
        *("0212 B## ## ##", "+90 312 B## ## ##", "0 5C# B## ## ##", "0(5C#) B## ####"),
    ),
    "us": (
        *("(@) N##-####", "@-N##-####", "+1 @ N## ####", "+1-@-N##-####", "+1 (@) N##-####"),
        *("@.N##.####", "+1@N######"),
    ),
    "de": (
        *("+49 17B #######", "+49 30 B#######", "0171 B######", "030 / B## ## ##", "+49 (0)89 B#####-##"),
        *("0176/B#######", "0049 151 B#######", "+49151########", "040-B## ## ##"),
    ),
    "other": (
        *("+44 20 7### ####", "+44 77## ######", "078## ######", "+33 6 1# ## ## ##", "+31 6 2#######"),
        *("+44 (0)161 B## ####", "+420 77# ### ###", "+380 67 ### ## ##", "+971 50 ### ####"),
    ),
}


def _fill_phone(rng: random.Random, pattern: str) -> str:
    letters = {"A": "0123568", "B": "23456789", "C": "345", "N": "2346789", "#": string.digits}
    form = pattern.replace("@", rng.choice(_AREAS))
    return "".join(rng.choice(letters[c]) if c in letters else c for c in form)


def _phone(rng: random.Random) -> str:
    country = rng.choice(["ru", "ru", "tr", "tr", "us", "de", "other"])
    while True:
        value = _fill_phone(rng, rng.choice(_PHONE_PATTERNS[country]))
        if country != "us" or not _reserved_in_us("".join(c for c in value if c.isdigit())[-10:]):
            return value


def _reserved_in_us(number: str) -> bool:
    return number[1:3] == "11" or number[4:6] == "11" or number[3:6] == "555"


def _not_phone(rng: random.Random) -> str:
    return rng.choice(
        [
            template(rng, "(212) 555-01##"),
            template(rng, "1-800-555-01##"),
            _fill_phone(rng, "+7 9## ###"),
            _fill_phone(rng, "(1##) 1##-####"),
            _fill_phone(rng, "##-##-##"),
            _fill_phone(rng, "###-####-#"),
            "+7 (9XX) XXX-XX-XX",
            "+1 (xxx) xxx-xxxx",
            "0 (5__) ___ __ __",
        ],
    )


def _ip_address(rng: random.Random) -> str:
    if rng.random() < 0.7:
        while True:
            address = ipaddress.IPv4Address(rng.randrange(20 << 24, 223 << 24))
            if address.is_global and min(address.packed) > 0 and max(address.packed) > 99:
                return str(address)
    start = rng.choice(["2a02", "2a00", "2003", "2600", "2001:4c4c", "2a01", "2606:4700"])
    groups = start.split(":")
    if rng.random() < 0.5:
        while len(groups) < 8:
            groups.append(f"{rng.randrange(0x1000, 0x10000):x}")
        return ":".join(groups)
    return (
        f"{start}:{rng.randrange(1, 0x10000):x}:{rng.randrange(1, 0x10000):x}::{rng.randrange(1, 0x10000):x}"
    )


def _not_ip_address(rng: random.Random) -> str:
    octet = rng.randrange(1, 255)
    return rng.choice(
        [
            f"10.{rng.randrange(256)}.{rng.randrange(256)}.{octet}",
            f"192.168.{rng.randrange(256)}.{octet}",
            f"172.{rng.randrange(16, 32)}.0.{octet}",
            f"127.0.0.{rng.randrange(1, 9)}",
            f"192.0.2.{octet}",
            f"198.51.100.{octet}",
            f"203.0.113.{octet}",
            "0.0.0.0",  # noqa: S104 - a text, no address to bind to
            "255.255.255.0",
            f"2001:db8::{octet:x}",
            "::1",
            f"fe80::{octet:x}",
            f"fd12:3456:789a::{octet:x}",
            f"{rng.randrange(256, 999)}.{octet}.{octet}.7",
        ],
    )


SYNTHETIC: Final[dict[str, Maker]] = {
    "email": _email,
    "phone": _phone,
    "ip_address": _ip_address,
}
NEAR_MISS: Final[dict[str, Maker]] = {
    "email": _not_email,
    "phone": _not_phone,
    "ip_address": _not_ip_address,
}
