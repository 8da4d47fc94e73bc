"""The types of arguments on the command line, and what the modules that define options share.

Each type takes the text and raises ArgumentTypeError with the fix.
"""

from __future__ import annotations

import argparse
import datetime as dt
import math
import re
from collections.abc import Callable, Mapping
from typing import Final, cast, get_args

from penstock.cli.spend_period import moment_s
from penstock.contract.formats import answer_id
from penstock.contract.formats.api_key import PREFIX, START
from penstock.contract.keys import STREAM_RESCUE_FORMS, STREAM_RESCUE_PATTERN
from penstock.contract.ledger.spend import SpendDimension
from penstock.contract.names import EMBED
from penstock.contract.subjects import is_token
from penstock.runtime.config.budgets.amounts import micro_dollars
from penstock.runtime.config.budgets.checks import is_time_zone, nearest_time_zone
from penstock.runtime.config.budgets.section import UNLIMITED
from penstock.runtime.config.settings import HIGHEST_PORT

__all__ = [
    "INHERITED",
    "AddData",
    "given",
    "parse_account",
    "parse_amount",
    "parse_day",
    "parse_dimensions",
    "parse_dollars",
    "parse_duration_s",
    "parse_key_prefix",
    "parse_moment",
    "parse_port",
    "parse_request_id",
    "parse_role",
    "parse_seconds",
    "parse_sequence",
    "parse_stream_rescue",
    "parse_text",
    "parse_tier",
    "parse_time_zone",
    "parse_token_count",
]

AddData = Callable[[argparse.ArgumentParser], None]
"""Adds the option --data to the parser of a command."""
INHERITED: Final = -1
"""The amount `none`: the limit has none of its own."""
_AMOUNT_WORDS: Final = {"unlimited": UNLIMITED, "none": INHERITED}
_HTTP_ANSWER: Final = re.compile(answer_id.PREFIX + 2 * answer_id.DIGIT + answer_id.ADDRESS)
_DURATION: Final = re.compile(r"([0-9]{1,6})([smhd])")
_KEY_PREFIX: Final = re.compile(rf"(?:{START})?({PREFIX})(?:_.*)?")
_DIMENSIONS: Final[tuple[SpendDimension, ...]] = get_args(SpendDimension)
_TIMES: Final = frozenset({"hour", "day", "month"})
_UNITS_S: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_MOST_TOKENS: Final = UNLIMITED - 1
_SEQUENCE_LIMIT: Final = 2**63
"""Above every sequence number of a stream."""


def parse_text(text: str) -> str:
    """An argument that is not UTF-8 contains lone surrogates."""
    try:
        text.encode()
    except UnicodeError as error:
        raise argparse.ArgumentTypeError("it is not UTF-8 text") from error
    return text


def parse_role(text: str) -> str:
    """The router knows the roles of its catalogue; only a name that no catalogue can have is rejected here."""
    if text == EMBED:
        raise argparse.ArgumentTypeError(f"the role {EMBED} embeds texts: it answers no questions")
    if not is_token(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not the name of a role")
    return text


def parse_stream_rescue(text: str) -> str:
    if re.fullmatch(STREAM_RESCUE_PATTERN, text) is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not valid: use {STREAM_RESCUE_FORMS}")
    return text


def parse_port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= HIGHEST_PORT):
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: use a number from 0 to {HIGHEST_PORT}")
    return int(text)


def parse_request_id(text: str) -> str:
    """The id of the request, also of the `id` of an answer over HTTP."""
    answer = _HTTP_ANSWER.fullmatch(text)
    if answer is not None:
        return answer[2]
    if not is_token(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a request id")
    return text


def parse_account(text: str) -> str:
    if not is_token(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not an account: use 1 to 64 of A-Z a-z 0-9 _ -")
    return text


def parse_key_prefix(text: str) -> str:
    """The prefix, also of a whole key. An error does not quote the argument, which may be a key."""
    match = _KEY_PREFIX.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError("not the prefix of a key, which has eight of a-z and 2-7")
    return match[1]


def parse_sequence(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) < _SEQUENCE_LIMIT):
        raise argparse.ArgumentTypeError(f"{text!r} is not the sequence number of a dead letter")
    return int(text)


def parse_duration_s(text: str) -> float:
    match = _DURATION.fullmatch(text)
    if match is None or int(match[1]) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration: use 90s, 30m, 12h or 7d")
    return int(match[1]) * _UNITS_S[match[2]]


def parse_seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < math.inf:  # nan is rejected as well
        raise argparse.ArgumentTypeError(f"{text!r} is not a valid duration: use seconds greater than 0")
    return seconds


def parse_token_count(text: str) -> int:
    """A whole number from 1 to _MOST_TOKENS. Raises ArgumentTypeError."""
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= _MOST_TOKENS):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a number of tokens: use a whole number from 1 to {_MOST_TOKENS}"
        )
    return int(text)


def parse_amount(text: str) -> int:
    """A whole number, `unlimited`, or `none` (INHERITED)."""
    if text in _AMOUNT_WORDS:
        return _AMOUNT_WORDS[text]
    digits = text.replace(",", "").replace("_", "")
    if not (digits.isascii() and digits.isdigit() and int(digits) < UNLIMITED):
        raise argparse.ArgumentTypeError(f"{text!r} is not an amount: use a whole number, unlimited or none")
    return int(digits)


def parse_dollars(text: str) -> int:
    """Dollars as micro-dollars, `unlimited`, or `none` (INHERITED)."""
    if text in _AMOUNT_WORDS:
        return _AMOUNT_WORDS[text]
    try:
        return micro_dollars(text.removeprefix("$"))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} {error}; use dollars, as 10 or 10.50") from error


def parse_time_zone(text: str) -> str:
    if not is_time_zone(text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a time zone that this machine knows: {nearest_time_zone(text)}"
        )
    return text


def parse_tier(text: str) -> str:
    if not is_token(text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not the name of a tier: use 1 to 64 of A-Z a-z 0-9 _ -"
        )
    return text


def parse_day(text: str) -> str:
    try:
        return dt.date.fromisoformat(text).isoformat()
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a day: use YYYY-MM-DD") from error


def parse_dimensions(text: str) -> tuple[SpendDimension, ...]:
    """Dimensions of the spend history, separated by commas."""
    found = text.split(",")
    unknown = [each for each in found if each not in _DIMENSIONS]
    if unknown:
        known = ", ".join(_DIMENSIONS)
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is not a dimension: use {known}")
    if len(set(found)) < len(found) or len(_TIMES.intersection(found)) > 1:
        raise argparse.ArgumentTypeError("name each dimension once, and only one of hour, day and month")
    return cast("tuple[SpendDimension, ...]", tuple(found))


def parse_moment(text: str) -> str:
    """A time of `penstock spend`, which depends on the moment of the question."""
    try:
        moment_s(text, 0)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def given(options: Mapping[str, object]) -> str:
    """The names of the options that have a value."""
    return " ".join(name for name, value in options.items() if value is not None)
