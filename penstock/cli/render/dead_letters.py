"""The text and the JSON of dead letters; the text is terminal-safe."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from penstock.cli.dead_letters import DeadLetter
from penstock.cli.render.table import cell, shortened, table
from penstock.cli.render.terminal_safe import visible
from penstock.cli.render.times import utc_text

__all__ = ["as_data", "letter_text", "list_text"]

_REASON_COLUMNS: Final = 60
_BODY_CHARACTERS: Final = 20_000


def list_text(letters: Sequence[DeadLetter]) -> str:
    if not letters:
        return "No dead letters."
    rows = [
        (
            str(letter.seq),
            utc_text(letter.at_ms),
            cell(letter.role),
            cell(letter.code),
            cell(letter.deliveries),
            str(len(letter.history.attempts) + letter.history.left_out),
            f"{len(letter.data):,}",
            cell(letter.request_id or "-"),
            shortened(visible(letter.reason), _REASON_COLUMNS),
        )
        for letter in letters
    ]
    titles = (
        "seq",
        "dead since (UTC)",
        "role",
        "code",
        "deliveries",
        "attempts",
        "bytes",
        "request",
        "reason",
    )
    return table(titles, rows, right=frozenset({0, 4, 5, 6}))


def letter_text(letter: DeadLetter) -> str:
    return "\n\n".join(_sections(letter))


def as_data(letter: DeadLetter) -> dict[str, Any]:
    """The letter as JSON data: the body as text where it is UTF-8, else in base64."""
    data: dict[str, Any] = msgspec.to_builtins(letter)
    del data["data"], data["reply_to"]
    data["request"] = letter.request_id
    try:
        return data | {"body": letter.data.decode()}
    except UnicodeDecodeError:
        return data | {"body_base64": base64.b64encode(letter.data).decode()}


def _sections(letter: DeadLetter) -> Iterator[str]:
    facts = (
        ("dead letter", str(letter.seq)),
        ("role", letter.role),
        ("reason", f"{letter.reason} ({letter.code})"),
        ("dead since", f"{utc_text(letter.at_ms)} UTC"),
        ("from", letter.subject),
        ("deliveries", letter.deliveries),
        ("request", letter.request_id or "not readable"),
    )
    yield "\n".join(f"{name:<12}{visible(value)}" for name, value in facts)
    yield _history(letter)
    yield "\n".join(
        ("headers", *(f"  {visible(name)}: {visible(value)}" for name, value in letter.headers.items()))
    )
    yield f"body, {len(letter.data):,} bytes\n{_body(letter.data)}"
    if letter.truncated_from is not None:
        yield f"Only a part of its {visible(letter.truncated_from)} bytes was kept; it cannot be redriven."


def _history(letter: DeadLetter) -> str:
    if not letter.history.attempts:
        return "No provider attempt is recorded."
    rows = [
        (
            str(attempt.attempt),
            utc_text(attempt.at_ms) if attempt.at_ms else "-",
            cell(attempt.model),
            cell(attempt.provider),
            cell(attempt.worker),
            cell(attempt.outcome),
            f"{attempt.bytes_out:,}",
        )
        for attempt in letter.history.attempts
    ]
    titles = ("attempt", "began (UTC)", "model", "provider", "worker", "outcome", "bytes out")
    left = letter.history.left_out
    return table(titles, rows, right=frozenset({0, 6})) + (
        f"\n{left:,} earlier attempts are not listed." if left else ""
    )


def _body(data: bytes) -> str:
    try:
        text = json.dumps(json.loads(data), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        text = data.decode(errors="backslashreplace")
    more = len(text) - _BODY_CHARACTERS
    cut = f"\n… {more:,} characters more; --json shows all" if more > 0 else ""
    return visible(text[:_BODY_CHARACTERS], lines=True) + cut
