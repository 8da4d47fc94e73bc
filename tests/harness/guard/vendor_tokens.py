"""Keys and tokens of the form of their vendors. No literal looks like one: they are made from parts."""

from __future__ import annotations

import random
import string
from typing import Final

from tests.harness.guard.value_parts import (
    ALNUM,
    HEX,
    LOWER_ALNUM,
    LOWER_BASE32,
    UPPER_ALNUM,
    UPPER_BASE32,
    URL_SAFE,
    Maker,
    base64url,
    chars,
    crc_base62,
    digits,
    mixed,
    other_char,
    template,
    with_other_end,
)


def _aws_access_key(rng: random.Random) -> str:
    start = rng.choice(["AK", "AK", "AS"]) + "IA"
    return start + chars(rng, UPPER_BASE32, 16)


def _not_aws_access_key(rng: random.Random) -> str:
    start = "AK" + "IA"
    return rng.choice(
        [
            start + "IOSFODNN7" + "EXAMPLE",
            start + "X" * 16,
            start + chars(rng, UPPER_BASE32, rng.choice([7, 9, 11])),
            start + "_" + chars(rng, string.ascii_uppercase, 6) + "_REGION",
            "AR" + "OA" + "EXAMPLEROLEID" + "123",
        ],
    )


def _github_classic(rng: random.Random) -> str:
    body = mixed(rng, ALNUM, 30)
    return rng.choice(["ghp", "ghp", "gho", "ghs"]) + "_" + body + crc_base62(body)


def _github_token(rng: random.Random) -> str:
    if rng.random() < 0.7:
        return _github_classic(rng)
    return "github" + "_pat_" + "11" + chars(rng, UPPER_ALNUM, 20) + "_" + mixed(rng, ALNUM, 59)


def _not_github_token(rng: random.Random) -> str:
    return rng.choice(
        [
            with_other_end(rng, _github_classic(rng), ALNUM),
            "ghp" + "_" + chars(rng, ALNUM, rng.choice([4, 6, 8])),
            "ghp" + "_" + "x" * 36,
            "github" + "_pat_" + "your_token_here",
            "ghp" + "_" + "*" * 36,
        ],
    )


def _openai_key(rng: random.Random) -> str:
    middle = "T3Blbk" + "FJ"
    form = rng.randrange(4)
    if form == 0:
        return "sk" + "-" + mixed(rng, ALNUM, 20) + middle + mixed(rng, ALNUM, 20)
    name = rng.choice(["proj", "proj", "proj", "svcacct"])
    size = 20 if form == 1 else 74
    alphabet = ALNUM if form == 1 else URL_SAFE
    return (
        f"sk-{name}-" + mixed(rng, alphabet, size - 1) + rng.choice(ALNUM) + middle + mixed(rng, ALNUM, size)
    )


def _not_openai_key(rng: random.Random) -> str:
    return rng.choice(
        [
            "sk" + "-" + "x" * 48,
            "sk" + "-proj-" + "..." + chars(rng, ALNUM, 4),
            "sk" + "-" + chars(rng, LOWER_ALNUM, 6),
            "sk" + "-your-" + "openai-key",
            "sk" + "-proj-" + "<your project key>",
            "sk" + "-" + "*" * 20 + chars(rng, ALNUM, 4),
        ],
    )


def _anthropic_key(rng: random.Random) -> str:
    name = rng.choice(["api03", "api03", "api03", "admin01"])
    return f"sk-{'ant'}-{name}-" + mixed(rng, URL_SAFE, 93) + "AA"


def _not_anthropic_key(rng: random.Random) -> str:
    start = "sk" + "-ant-"
    return rng.choice(
        [
            start + "api03-" + "..." + chars(rng, ALNUM, 4),
            start + "api03-" + "x" * 24,
            start + "your-key-here",
            start + digits(rng, 6),
            start + "api03-" + "<...>",
        ],
    )


def _groq_key(rng: random.Random) -> str:
    return "gsk" + "_" + mixed(rng, ALNUM, 20) + "WGdyb3" + "FY" + mixed(rng, ALNUM, 24)


def _not_groq_key(rng: random.Random) -> str:
    return rng.choice(
        [
            "gsk" + "_" + "x" * 52,
            "gsk" + "_" + chars(rng, ALNUM, rng.choice([4, 6, 8])),
            "gsk" + "_" + "your_groq_key",
            "gsk" + "_" + "." * 3,
        ],
    )


def _slack_token(rng: random.Random) -> str:
    form = rng.randrange(5)
    team, user = (
        template(rng, "2#########" + "#" * rng.randrange(4)),
        template(rng, "5#########" + "#" * rng.randrange(4)),
    )
    if form < 3:
        return f"xox{'b'}-{team}-{user}-" + mixed(rng, ALNUM, 24)
    if form == 3:
        return f"xox{'p'}-{team}-{user}-" + template(rng, "6############") + "-" + chars(rng, HEX, 32)
    return f"xap{'p'}-1-A0" + chars(rng, UPPER_ALNUM, 9) + f"-{team}-" + chars(rng, HEX, 64)


def _not_slack_token(rng: random.Random) -> str:
    return rng.choice(
        [
            "xox" + "b-" + "your-token",
            "xox" + "b-" + "xxxxxxxxxxxx-xxxxxxxxxxxx-xxxxxxxxxxxxxxxxxxxxxxxx",
            "xox" + "b-" + digits(rng, 4),
            "xox" + "o-" + chars(rng, string.ascii_lowercase, 6),
            "xox" + "p-" + "***",
        ],
    )


def _stripe_key(rng: random.Random) -> str:
    start = rng.choice(["sk", "sk", "sk", "rk"]) + "_" + "live" + "_"
    if rng.random() < 0.5:
        return start + mixed(rng, ALNUM, 24)
    return start + "51" + mixed(rng, ALNUM, 97)


def _not_stripe_key(rng: random.Random) -> str:
    return rng.choice(
        [
            "pk" + "_live_" + mixed(rng, ALNUM, 24),
            "sk" + "_live_" + "x" * 24,
            "sk" + "_live_" + "...",
            "sk" + "_live_" + chars(rng, ALNUM, 5),
            "sk" + "_live_" + "YOUR_KEY",
            "pi" + "_" + mixed(rng, ALNUM, 24),
            "cus" + "_" + mixed(rng, ALNUM, 14),
        ],
    )


def _google_api_key(rng: random.Random) -> str:
    return "AI" + "za" + "Sy" + mixed(rng, URL_SAFE, 32) + rng.choice(ALNUM)


def _not_google_api_key(rng: random.Random) -> str:
    start = "AI" + "za"
    return rng.choice(
        [
            start + "Sy" + chars(rng, ALNUM, rng.choice([4, 6, 8])),
            start + "Sy" + "X" * 33,
            start + "Sy" + "..." + chars(rng, ALNUM, 3),
            start + "SyYOUR_API_KEY",
        ],
    )


def _hugging_face_token(rng: random.Random) -> str:
    return "hf" + "_" + chars(rng, string.ascii_letters, 34)


def _not_hugging_face_token(rng: random.Random) -> str:
    names = ["hub_download", "transfer", "dataset_path", "model_id", "home", "cache_dir"]
    return rng.choice(
        [
            "hf" + "_" + "x" * 34,
            "hf" + "_" + rng.choice(names),
            "hf" + "_" + chars(rng, string.ascii_letters, rng.choice([4, 6, 8])),
            "hf" + "_" + "...",
        ],
    )


def _gitlab_token(rng: random.Random) -> str:
    start = "gl" + "pat" + "-"
    if rng.random() < 0.75:
        return start + mixed(rng, URL_SAFE, 19) + rng.choice(ALNUM)
    return start + mixed(rng, URL_SAFE, 27) + "." + "01" + "." + chars(rng, LOWER_ALNUM, 9)


def _not_gitlab_token(rng: random.Random) -> str:
    start = "gl" + "pat" + "-"
    return rng.choice(
        [
            start + "x" * 20,
            start + chars(rng, ALNUM, rng.choice([4, 6, 8])),
            start + "<your_token>",
            start + "*" * 20,
        ],
    )


def _npm_token(rng: random.Random) -> str:
    body = mixed(rng, ALNUM, 30)
    return "npm" + "_" + body + crc_base62(body)


def _not_npm_token(rng: random.Random) -> str:
    return rng.choice(
        [
            "npm" + "_" + rng.choice(["config_registry", "package_version", "lifecycle_event", "execpath"]),
            "npm" + "_" + "x" * 36,
            "npm" + "_" + chars(rng, ALNUM, rng.choice([4, 6, 8])),
            "npm" + "_" + "YOUR_TOKEN",
        ],
    )


def _telegram_bot_token(rng: random.Random) -> str:
    number = str(rng.randrange(5, 9)) + digits(rng, 9) if rng.random() < 0.7 else template(rng, "7########")
    return number + ":" + "AA" + rng.choice("EFGH") + mixed(rng, URL_SAFE, 31) + rng.choice(ALNUM)


def _not_telegram_bot_token(rng: random.Random) -> str:
    return rng.choice(
        [
            "123456" + ":" + "ABC-DEF",
            digits(rng, 10) + ":" + "<token>",
            digits(rng, 10) + ":" + chars(rng, ALNUM, 6),
            digits(rng, 4) + ":" + "AA" + chars(rng, ALNUM, 8),
            "<bot_id>" + ":" + "x" * 35,
        ],
    )


def _penstock_key(rng: random.Random) -> str:
    body = "psk" + "_" + chars(rng, LOWER_BASE32, 8) + "_" + base64url(rng.randbytes(32))
    return body + crc_base62(body)


def _not_penstock_key(rng: random.Random) -> str:
    key = _penstock_key(rng)
    return rng.choice(
        [
            with_other_end(rng, key, ALNUM),
            with_other_end(rng, key[:-6], ALNUM) + key[-6:-1] + other_char(rng, key[-1], ALNUM),
            key[:12],
            key[:13] + "...",
            "psk" + "_" + "x" * 8 + "_" + "x" * 49,
            "psk" + "_" + rng.choice(["mode", "identity", "hint"]),
        ],
    )


SYNTHETIC: Final[dict[str, Maker]] = {
    "aws_access_key": _aws_access_key,
    "github_token": _github_token,
    "openai_key": _openai_key,
    "anthropic_key": _anthropic_key,
    "groq_key": _groq_key,
    "slack_token": _slack_token,
    "stripe_key": _stripe_key,
    "google_api_key": _google_api_key,
    "hugging_face_token": _hugging_face_token,
    "gitlab_token": _gitlab_token,
    "npm_token": _npm_token,
    "telegram_bot_token": _telegram_bot_token,
    "penstock_key": _penstock_key,
}
NEAR_MISS: Final[dict[str, Maker]] = {
    "aws_access_key": _not_aws_access_key,
    "github_token": _not_github_token,
    "openai_key": _not_openai_key,
    "anthropic_key": _not_anthropic_key,
    "groq_key": _not_groq_key,
    "slack_token": _not_slack_token,
    "stripe_key": _not_stripe_key,
    "google_api_key": _not_google_api_key,
    "hugging_face_token": _not_hugging_face_token,
    "gitlab_token": _not_gitlab_token,
    "npm_token": _not_npm_token,
    "telegram_bot_token": _not_telegram_bot_token,
    "penstock_key": _not_penstock_key,
}
