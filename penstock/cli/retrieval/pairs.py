"""`key=value` on the command line: metadata of documents, and filters of a search."""

from __future__ import annotations

import argparse
from collections.abc import Iterable

import msgspec

from penstock.cli.argument_types import parse_text
from penstock.contract.retrieval.search import Filters

__all__ = ["Value", "filters_of", "parse_pair"]

Value = str | int | float | bool


def parse_pair(text: str) -> tuple[str, Value]:
    """The key, and the value as JSON writes a number, `true`, `false` or a string in quotes; else as plain text."""
    key, equals, value = parse_text(text).partition("=")
    if not key.strip() or not equals or not value:
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE, as year=2026 or language=tr")
    return key.strip(), _value(value)


def filters_of(pairs: Iterable[tuple[str, Value]]) -> Filters:
    """A key that is named several times may have any of its values."""
    given: dict[str, list[Value]] = {}
    for key, value in pairs:
        given.setdefault(key, []).append(value)
    return {key: values[0] if len(values) == 1 else list(values) for key, values in given.items()}


def _value(text: str) -> Value:
    try:
        found = msgspec.json.decode(text, type=str | int | float | bool)
    except (msgspec.MsgspecError, UnicodeError):
        return text
    return found
