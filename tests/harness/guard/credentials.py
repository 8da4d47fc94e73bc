"""JSON web tokens, private keys, URLs with passwords and generic secrets, made from parts."""

from __future__ import annotations

import base64
import json
import random
import string
from typing import Final

from tests.harness.guard.value_parts import (
    ALNUM,
    BASE64,
    HEX,
    URL_SAFE,
    Maker,
    base64url,
    chars,
    digits,
    mixed,
)


def _json_part(value: dict[str, object]) -> str:
    return base64url(json.dumps(value, separators=(",", ":")).encode())


def _jwt(rng: random.Random) -> str:
    algorithm = rng.choice(["HS256", "RS256", "ES256"])
    header: dict[str, object] = {"alg": algorithm, "typ": "JWT"}
    if rng.random() < 0.4:
        header["kid"] = chars(rng, HEX, 16)
    issued = 1_700_000_000 + rng.randrange(60_000_000)
    claims: dict[str, object] = {"sub": digits(rng, 8), "iat": issued, "exp": issued + 3600}
    if rng.random() < 0.5:
        claims["scope"] = rng.choice(["read write", "admin", "orders:read", "openid profile"])
    if rng.random() < 0.4:
        claims["iss"] = rng.choice(
            ["https://id.lindgren-shop.se", "accounts", "https://sso.novator.ru/realms/main"]
        )
    size = {"HS256": 32, "RS256": 256, "ES256": 64}[algorithm]
    return f"{_json_part(header)}.{_json_part(claims)}.{base64url(rng.randbytes(size))}"


def _not_jwt(rng: random.Random) -> str:
    header = _json_part({"alg": "HS256", "typ": "JWT"})
    words = [chars(rng, string.ascii_lowercase, size) for size in (8, 9, 6)]
    return rng.choice(
        [
            header + "...",
            header,
            "xxxxx.yyyyy.zzzzz",
            "header.payload.signature",
            ".".join(words),
            header[:2] + "J...",
        ],
    )


_DASHES: Final = "-" * 5


_PRIVATE_KEY: Final = "PRIVATE" + chr(32) + "KEY"


def _pem(label: str, body: str, line: int, newline: str) -> str:
    lines = [body[start : start + line] for start in range(0, len(body), line)]
    return newline.join([f"{_DASHES}BEGIN {label}{_DASHES}", *lines, f"{_DASHES}END {label}{_DASHES}"])


def _base64_of(start: bytes, size: int, rng: random.Random) -> str:
    return base64.b64encode(start + rng.randbytes(size - len(start))).decode()


def _private_key(rng: random.Random) -> str:
    newline = "\n" if rng.random() < 0.8 else "\\n"
    form = rng.randrange(5)
    if form == 0:
        return _pem(
            "RSA " + _PRIVATE_KEY,
            _base64_of(bytes.fromhex("308204a30201000282010100"), 1191, rng),
            64,
            newline,
        )
    if form == 1:
        return _pem("EC " + _PRIVATE_KEY, _base64_of(bytes.fromhex("30770201010420"), 121, rng), 64, newline)
    if form == 2:
        start = b"openssh-key-v1\0\0\0\0\x04none\0\0\0\x04none\0\0\0\0\0\0\0\x01\0\0\0\x33\0\0\0\x0bssh-ed25519\0\0\0 "
        return _pem("OPENSSH " + _PRIVATE_KEY, _base64_of(start, 290, rng), 70, newline)
    if form == 3:
        return _pem(
            _PRIVATE_KEY,
            _base64_of(bytes.fromhex("308204bd020100300d06092a864886f70d010101"), 1217, rng),
            64,
            newline,
        )
    start = bytes.fromhex("302e020100300506032b657004220420")
    return _pem(_PRIVATE_KEY, _base64_of(start, 48, rng), 64, newline)


def _not_private_key(rng: random.Random) -> str:
    return rng.choice(
        [
            _pem(
                "PUBLIC KEY",
                _base64_of(bytes.fromhex("30820122300d06092a864886f70d0101"), 294, rng),
                64,
                "\n",
            ),
            _pem("CERTIFICATE", _base64_of(bytes.fromhex("3082035a30820242a0030201"), 600, rng), 64, "\n"),
            f"{_DASHES}BEGIN {_PRIVATE_KEY}{_DASHES}\n...\n{_DASHES}END {_PRIVATE_KEY}{_DASHES}",
            f"{_DASHES}BEGIN RSA {_PRIVATE_KEY}{_DASHES}\n<your key here>\n{_DASHES}END RSA {_PRIVATE_KEY}{_DASHES}",
            "ssh-ed25519 " + _base64_of(b"\0\0\0\x0bssh-ed25519\0\0\0 ", 51, rng),
        ],
    )


def _password(rng: random.Random) -> str:
    """A password of a person or a generator, without characters that need quoting in a URL."""
    form = rng.randrange(4)
    if form == 0:
        return mixed(rng, ALNUM, rng.choice([12, 16, 20, 24, 32]))
    if form == 1:
        return mixed(rng, ALNUM + "-_.!", 14) + rng.choice(ALNUM)
    if form == 2:
        return chars(rng, HEX, 32)
    return "-".join(mixed(rng, ALNUM, 6) for _ in range(3))


def _url_password(rng: random.Random) -> str:
    user = rng.choice(
        ["app", "svc_billing", "deploy", "postgres", "reports", "ci-bot", "admin", "shop_rw", "ivanov"]
    )
    host = rng.choice(["db", "pg-1.prod.internal", "mq.novator.ru", "10.4.0.17", "redis"])
    login = f"{user}:{_password(rng)}@{host}"
    own_host = f"{user}:{_password(rng)}@"
    sql = rng.choice(["postgres", "postgresql", "postgresql+asyncpg"])
    site = rng.choice(
        ["git.nordwind-logistik.de/ops/deploy.git", "nexus.novator.ru/repository/pypi", "kep.com.tr/api/v2"],
    )
    return rng.choice(
        [
            f"{sql}://{login}:5432/{rng.choice(['orders', 'crm', 'app', 'analytics'])}",
            f"{sql}://{login}:5432/{rng.choice(['orders', 'crm', 'app', 'analytics'])}",
            f"mysql://{login}:3306/shop?charset=utf8mb4",
            f"redis://{login.removeprefix(user)}:6379/0",
            f"redis://{login}:6379/2",
            f"mongodb+srv://{own_host}cluster0.k3xqz.mongodb.net/crm?retryWrites=true",
            f"amqp://{login}:5672/%2Fprod",
            f"https://{own_host}{site}",
            f"https://{own_host}{site}",
        ],
    )


def _not_url_password(rng: random.Random) -> str:
    return rng.choice(
        [
            "postgres" + "://app@db.internal:5432/orders",
            "postgres" + "://user:" + "${DB_PASSWORD}@db:5432/app",
            "postgresql" + "://user:" + "password@localhost:5432/mydb",
            "https" + "://<user>:" + "<password>@git.example.com/repo.git",
            "redis" + "://localhost:6379/0",
            "amqp" + "://guest:" + "guest@localhost:5672/",
            "https" + f"://registry.novator.ru:{rng.randrange(1024, 9999)}/pkg@{rng.randrange(1, 9)}.0",
            "mysql" + "://root:" + "****@db:3306/shop",
        ],
    )


def _generic_secret(rng: random.Random) -> str:
    return rng.choice(
        [
            mixed(rng, ALNUM, rng.choice([20, 24, 32])),
            mixed(rng, BASE64, 39) + rng.choice(ALNUM),  # as the secret of an AWS key
            chars(rng, HEX, rng.choice([32, 40, 64])),
            base64.b64encode(rng.randbytes(32)).decode(),
            mixed(rng, ALNUM + "!%^*-_+=.?", 17) + rng.choice(ALNUM),
            mixed(rng, URL_SAFE, 42) + rng.choice(ALNUM),
            rng.choice(string.ascii_letters) + mixed(rng, ALNUM + "!%*-_", 12) + rng.choice(ALNUM),
        ],
    )


def _not_generic_secret(rng: random.Random) -> str:
    return rng.choice(
        [
            "changeme",
            "hunter" + "2",
            "${" + rng.choice(["DB_PASSWORD", "API_KEY", "SESSION_SECRET"]) + "}",
            "<" + rng.choice(["your-password", "token", "secret"]) + ">",
            "*" * rng.choice([6, 8, 12]),
            "your-" + rng.choice(["api-key", "token", "secret"]) + "-here",
            "x" * rng.choice([8, 16, 32]),
            "REDACTED",
            "{{ vault." + rng.choice(["db_password", "api_token"]) + " }}",
            "TODO",
            "",
        ],
    )


SYNTHETIC: Final[dict[str, Maker]] = {
    "jwt": _jwt,
    "private_key": _private_key,
    "url_password": _url_password,
    "generic_secret": _generic_secret,
}
NEAR_MISS: Final[dict[str, Maker]] = {
    "jwt": _not_jwt,
    "private_key": _not_private_key,
    "url_password": _not_url_password,
    "generic_secret": _not_generic_secret,
}
