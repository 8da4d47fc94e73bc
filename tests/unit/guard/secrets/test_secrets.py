"""Secrets in texts: tokens by their beginning, passwords in URLs, private keys, and values assigned to a name."""

from __future__ import annotations

import base64
import random

import pytest

from tests.harness.guard.findings import found_in
from tests.harness.guard.synthetic_values import SECRETS, synthetic
from tests.harness.guard.written_forms import connection_strings

RNG = random.Random(20261130)
WORDS = ("generic_secret", "url_password")
PLACES = ("{}", "key {}, thanks", "({})", "`{}`", "<b>{}</b>", 'call("{}")', "ключ: {}.", "x={};", "a\n{}\nb")


def _password() -> str:
    return "K" + "x7" + "Rt" + "9v" + "Qb2mZ" + "4w"


ASSIGNED = [
    "password = '{}'",
    '"apiKey": "{}",',
    '{{\\"token\\": \\"{}\\"}}',
    "export DB_PASSWORD={}",
    "spring.datasource.password={}",
    '- name: DB_PASSWORD\n  value: "{}"',
    "пароль: {}",
    "пароль от базы — {}, не потеряй",
    "şifre: {}",
    "Veritabanı şifresi {} olarak ayarlandı.",
    "the password for the staging box is {}.",
    "curl -H 'Authorization: Bearer {}' https://api.internal.net",
    "curl -u admin:{} https://api.internal.net",
    "<password>{}</password>",
    "Server=db;User Id=sa;Password={};",
    "?access_token={}&page=1",
    "PGPASSWORD={} psql",
    "CREATE USER app IDENTIFIED BY '{}'",
    "mysql -uroot -p{} shop",
    "login: bob / pass: {}",
]
HARMLESS = [
    "const token = process.env.TOKEN2",
    "max_tokens: 4096, token_count=12345678",
    "token = get_token2(request)",
    "api_key=os.environ['K3Y']",
    "password = 'hunter2'",
    "password: changeme123, secret: <your-secret-1>, token: ${TOKEN_2}, api_key: xxxxxxxx1",
    "password_hash = 5f4dcc3b5aa765d61d8327deb882cf99",
    "commit 5f4dcc3b5aa765d61d8327deb882cf99a1b2c3d4 fixes the token refresh",
    "token 550e8400-e29b-41d4-a716-446655440000",
    "The secret of utf8 and base64 is S3; the token bucket refills 10req/s",
    "claude-sonnet-4-5-20250929 token price",
    "tokenizer = AutoTokenizer.from_pretrained('gpt2-xl')",
    "postgres://app:${DB_PASSWORD2}@db/x and postgres://postgres:postgres@db/x and https://host:8080/a@2.0",
    "AKIA" + "IOSFODNN7EXAMPLE",
    "password.minLength=8\npassword.maxLength=64",
    "auth.password.min-length: 12 # letters",
    "token.rotationPeriod=P30D, secret.strength=3of5",
    "-----BEGIN RSA " + "PRIVATE KEY-----\n...\n-----END RSA " + "PRIVATE KEY-----",
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", [kind for kind in SECRETS if kind not in WORDS])
def test_g6_a_token_is_found_wherever_it_stands(secret_detector, kind, place):
    value = synthetic(kind, RNG)
    assert found_in(secret_detector, place.format(value)) == [(kind, value)]


@pytest.mark.parametrize("text", ASSIGNED)
def test_g6_a_value_assigned_to_the_name_of_a_secret_is_found(secret_detector, text):
    value = _password()
    assert found_in(secret_detector, text.format(value)) == [("generic_secret", value)]


def test_g6_only_the_password_of_a_url_is_found(secret_detector):
    value = _password()
    text = f"DSN postgres://app:{value}@db.internal:5432/orders?ssl=on"
    assert found_in(secret_detector, text) == [("url_password", value)]


@pytest.mark.parametrize("size", [24, 32, 64])
@pytest.mark.parametrize("place", ['<add key="BusKey" value="{}" />', 'CONNECTION="{}"', "conn: {}\n"])
def test_g6_only_the_key_of_a_connection_string_is_found(secret_detector, place, size):
    value = base64.b64encode(random.Random(size).randbytes(size)).decode()
    assert any(map(str.isdigit, value)), "a value of letters alone is not found"
    for text in connection_strings(value):
        assert [found for _, found in found_in(secret_detector, place.format(text))] == [value]


def test_g6_secrets_of_other_vendors_are_found(secret_detector):
    value = "dop_v1_" + "81fb0a1c653f853c8f1f0b72a8b87fbb" + "5dc19c9b1b96bb2783bb0f601c4dcfc0"
    assert found_in(secret_detector, f'"{value}"') == [("other_secret", value)]


def test_g6_a_repeated_secret_is_found_each_time(secret_detector):
    value = synthetic("slack_token", RNG)
    assert found_in(secret_detector, f"{value} é {value}\n{value}") == [("slack_token", value)] * 3


@pytest.mark.parametrize("text", HARMLESS)
def test_g6_placeholders_and_ordinary_code_are_not_reported(secret_detector, text):
    assert found_in(secret_detector, text) == []
