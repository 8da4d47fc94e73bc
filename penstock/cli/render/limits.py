"""The limits of a status as a person reads them: use, headroom, outlook, the last hour, advice (REQUIREMENTS C7)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from penstock.cli.commands.status_limits import Learned
from penstock.cli.commands.status_report import Limit
from penstock.cli.render.table import shortened, table
from penstock.runtime.limit_advice import LIMIT_WORDS, duration

__all__ = ["learned_text", "limits_text"]

_SHOWN: Final = 20
_MODEL_COLUMNS: Final = 22
_KEY_COLUMNS: Final = 9
_WORKER_COLUMNS: Final = 14
_SOON_S: Final = 3600


def limits_text(limits: Sequence[Limit], now_ms: int) -> str:
    """The fullest first, as they come; those that nobody uses are only counted. Not wider than 100 columns."""
    used = [limit for limit in limits if limit.used or limit.hour.missed]
    if not used:
        return f"Limits: {len(limits)}, none used in its window."
    shown = used[:_SHOWN]
    apart = any(limit.worker for limit in shown)
    titles = (
        "model",
        "limit",
        "used",
        "of",
        "%",
        "left",
        "outlook",
        "worker" if apart else "full, held in 1 h",
    )
    several = _several_keys(limits)
    rows = [
        (
            _model(limit, several),
            *_row(limit, now_ms),
            shortened(limit.worker, _WORKER_COLUMNS) if apart else _last_hour(limit),
        )
        for limit in shown
    ]
    parts = [table(titles, rows, right=frozenset({2, 3, 4, 5}))]
    quiet = len(limits) - len(shown)
    if quiet:
        parts.append(f"{quiet} more limits, less used or not at all (--json shows them).")
    parts += dict.fromkeys(
        f"Advice{f' ({limit.credential})' if limit.model in several else ''}: {limit.advice}"
        for limit in limits
        if limit.advice
    )
    return "\n".join(parts)


def learned_text(learned: Sequence[Learned]) -> str:
    """Each with the line that makes it known from the start."""
    lines = []
    for limit in learned:
        about = f"{limit.model} refuses more than about {_number(limit.requests_per_minute)} requests/min"
        lines.append(f"Learnt: {about} of key {limit.credential or '-'}.")
        lines.append(f"  The catalogue names no limit; write at the model: {limit.write}")
    return "\n".join(lines)


def _several_keys(limits: Sequence[Limit]) -> set[str]:
    """Models whose limits stand there once per key."""
    keys: dict[str, set[str]] = {}
    for limit in limits:
        keys.setdefault(limit.model, set()).add(limit.credential)
    return {model for model, credentials in keys.items() if len(credentials) > 1}


def _model(limit: Limit, several: set[str]) -> str:
    """With the key where it takes that to tell two rows apart: names of keys differ at their ends."""
    if limit.model not in several:
        return shortened(limit.model, _MODEL_COLUMNS)
    key = limit.credential
    if len(key) > _KEY_COLUMNS:
        key = f"…{key[1 - _KEY_COLUMNS :]}"
    return f"{shortened(limit.model, _MODEL_COLUMNS - _KEY_COLUMNS - 1)} {key}"


def _row(limit: Limit, now_ms: int) -> tuple[str, ...]:
    return (
        LIMIT_WORDS.get(limit.limit, limit.limit),
        _number(limit.used),
        _number(limit.allowed),
        f"{limit.percent:.0f} %",
        _number(limit.headroom),
        _outlook(limit.full_in_s, now_ms),
    )


def _number(number: int) -> str:
    """Five columns; --json has them to the last digit."""
    if number < 10_000:
        return f"{number:,}"
    return f"{number / 1000:.0f}k" if number < 10_000_000 else f"{number / 1_000_000:.0f}M"


def _outlook(full_in_s: float | None, now_ms: int) -> str:
    if full_in_s is None:
        return "-"
    if full_in_s == 0:
        return "full"
    if full_in_s < _SOON_S:
        return f"full in {duration(full_in_s)}"
    at = time.strftime("%H:%M", time.localtime(now_ms / 1000 + full_in_s))
    return f"full at {at}"


def _last_hour(limit: Limit) -> str:
    parts = [duration(limit.hour.full_s)] if limit.hour.full_s else []
    parts += [f"{_number(limit.hour.missed)} held"] if limit.hour.missed else []
    return ", ".join(parts) or "-"
