"""Since when keys are in use: `<NAME>_CREATED=2026-08-01` (REQUIREMENTS A6)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Final

from penstock.runtime.config.problems import ConfigurationRefused, Problem

__all__ = ["key_dates"]

_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}")


def key_dates(names: Iterable[str], env: Mapping[str, str]) -> dict[str, float]:
    """Name of the key → the beginning of its day, Unix seconds; without those of which nothing is said.

    Raises ConfigurationRefused with every date that is none.
    """
    found: dict[str, float] = {}
    problems = []
    for name in dict.fromkeys(names):
        variable = f"{name}_CREATED"
        text = env.get(variable)
        if not text:
            continue
        day = _day(text)
        if day is None:
            # Not quoted: somebody may have put the key itself here.
            fix = "write the day the key was made, as 2026-08-01"
            problems.append(Problem(key=variable, problem="is not a date", fix=fix))
        else:
            found[name] = day.timestamp()
    if problems:
        raise ConfigurationRefused("environment", problems)
    return found


def _day(text: str) -> datetime | None:
    if not _DATE.fullmatch(text):
        return None
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC)
    except ValueError:
        return None
