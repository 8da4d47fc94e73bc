"""What is wrong with a configuration, where, and how to fix it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from msgspec import Struct

__all__ = ["ConfigurationRefused", "Problem", "nearest"]


class Problem(Struct, frozen=True, kw_only=True):
    """One mistake in a configuration."""

    line: int | None = None
    """1-based; None where the source has no lines (the environment) or could not be read."""
    key: str = ""
    """Like `roles.chat.chain[1]`; empty: the source as a whole."""
    value: str | None = None
    """As it was written, before the environment was put in; None: nothing to quote."""
    problem: str
    fix: str

    def told(self, source: str) -> str:
        """The mistake in one line: `deploy/x.yaml:14: roles.chat.chain[1] = "gpt-5o": ... Fix: ...`."""
        place = source if self.line is None else f"{source}:{self.line}"
        quoted = self.key if self.value is None else f"{self.key} = {self.value}"
        told = ": ".join(part for part in (place, quoted, self.problem) if part) + f". Fix: {self.fix}."
        # A name taken from the file may hold anything; a line stays a line.
        return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in told)


class ConfigurationRefused(Exception):
    """A configuration that cannot be used, with everything that is wrong with it."""

    def __init__(self, source: str, problems: Iterable[Problem]) -> None:
        self.source = source
        self.problems = tuple(problems)
        super().__init__(source, self.problems)

    def __str__(self) -> str:
        return "\n".join(problem.told(self.source) for problem in self.problems)


def nearest(word: str, known: Iterable[str]) -> str:
    """A fix that names the closest of the `known` words, or all of them where none is close."""
    words = list(known)
    close = difflib.get_close_matches(word, words, n=1)
    if close:
        return f"write {close[0]}, if that is what you meant"
    return f"use one of: {', '.join(words)}" if words else "there is none to choose from"
