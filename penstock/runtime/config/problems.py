"""The mistakes of a configuration: each with its place, its cause and its fix."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from msgspec import Struct, structs

from penstock.bus.masking import is_name_of_secret, looks_secret, without_secrets

if TYPE_CHECKING:
    from penstock.runtime.config.document import Document

__all__ = ["ConfigurationRefused", "Problem", "ProblemReport", "define_or_use", "joined", "nearest"]

_VARIABLE: Final = re.compile(r'"?[A-Z_][A-Z0-9_]*"?|"?\$\{[A-Za-z_][A-Za-z0-9_]*\}"?|\[?\]?')
"""What may be quoted of a key that holds a secret: the name of a variable."""
_LAST: Final = re.compile(r"([^.\[\]\"]*)\"?(?:\[\d+\])*$")
_DIRECTORY: Final = re.compile(r"_dir$", re.IGNORECASE)
_UNCLEAR: Final = re.compile(r"[.\[\]\"\s]")
"""In a key: what separates or quotes the parts of a path."""


def joined(path: str, *keys: str) -> str:
    """The path of `keys` below `path`, each below the one before it; a key that a path could not show is quoted."""
    shown = [json.dumps(key, ensure_ascii=False) if _UNCLEAR.search(key) or not key else key for key in keys]
    return ".".join([path, *shown] if path else shown)


class Problem(Struct, frozen=True, kw_only=True):
    """One mistake in a configuration."""

    line: int | None = None
    """1-based; None if the source has no lines (the environment) or could not be read."""
    key: str = ""
    """The path, such as `roles.chat.chain[1]` or `models."m-4.1".price`; empty: the source as a whole."""
    value: str | None = None
    """The value as written, before interpolation of the environment; None: no value to quote."""
    problem: str
    fix: str

    def __post_init__(self) -> None:
        """Take out what looks like a secret: errors are kept in logs, also in those of a build server."""
        if self.value is not None and (looks_secret(self.value) or _may_be_secret(self.key, self.value)):
            structs.force_setattr(self, "value", None)
        for name in ("key", "problem", "fix"):
            structs.force_setattr(self, name, without_secrets(getattr(self, name)))

    def as_line(self, source: str) -> str:
        """The mistake in one line: `deploy/x.yaml:14: roles.chat.chain[1] = "gpt-5o": ... Fix: ...`."""
        named = source if "/" in source or source.endswith((".yaml", ".yml")) else without_secrets(source)
        place = named if self.line is None else f"{named}:{self.line}"
        quoted = self.key if self.value is None else f"{self.key} = {self.value}"
        line = ": ".join(part for part in (place, quoted, self.problem) if part) + f". Fix: {self.fix}."
        # A name from the file may contain line ends and control characters.
        return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


def _may_be_secret(path: str, value: str) -> bool:
    """Whether the key at `path` holds secrets, and `value` is not just the name of a variable."""
    last = _LAST.search(path)
    name = "" if last is None else last[1]
    return is_name_of_secret(name) and not _DIRECTORY.search(name) and not _VARIABLE.fullmatch(value)


class ConfigurationRefused(Exception):
    """A configuration that cannot be used, with all its mistakes."""

    def __init__(self, source: str, problems: Iterable[Problem]) -> None:
        self.source = source
        self.problems = tuple(problems)
        super().__init__(source, self.problems)

    def __str__(self) -> str:
        return "\n".join(problem.as_line(self.source) for problem in self.problems)


class ProblemReport:
    """Collects the mistakes of one document, the first of each key, and finds their lines."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._problems = {problem.key: problem for problem in reversed(document.problems)}
        self._places: dict[str, str] = {}
        self._sections: dict[str, str] = {}

    def relocate(self, path: str, place: str) -> None:
        """Report mistakes at `path` at `place` of the file from now on."""
        self._places[path] = place

    def relocate_below(self, section: str, place: str) -> None:
        """Report mistakes at and below the key `section` at and below `place` of the file from now on."""
        self._sections[section] = place

    def add(self, path: str, problem: str, fix: str, *, quote: bool = True) -> None:
        """Report the key at `path`; `quote=False` where the value might be a secret."""
        path = self._places.get(path, path)
        for section, place in self._sections.items():
            if path == section or path.startswith((f"{section}.", f"{section}[")):
                path = place + path.removeprefix(section)
        written = self._document.written.get(path) if quote else None
        self._problems.setdefault(
            path, Problem(line=self._line(path), key=path, value=written, problem=problem, fix=fix)
        )

    def is_interpolated(self, path: str) -> bool:
        """Whether the value at `path` has a part from the environment."""
        return "${" in self._document.written.get(path, "")

    def hide_values(self, path: str) -> None:
        """Quote no value at `path` or below it, of a mistake that is reported already: it may be a secret."""
        for key, problem in self._problems.items():
            if not path or key == path or key.startswith((f"{path}.", f"{path}[")):
                self._problems[key] = structs.replace(problem, value=None)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """The mistakes in the order of the file."""
        return tuple(sorted(self._problems.values(), key=lambda problem: (problem.line or 0, problem.key)))

    def _line(self, path: str) -> int | None:
        """The line of the key; of a missing key, that of the nearest enclosing one."""
        while path and path not in self._document.lines:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return self._document.lines.get(path)


def define_or_use(section: str, word: str, known: Iterable[str]) -> str:
    """A fix for a `word` that `section` of the catalogue does not define: define it, or use one of the `known` ones."""
    words = list(known)
    return f"define it under {section}:" + (f", or {nearest(word, words)}" if words else "")


def nearest(word: str, known: Iterable[str]) -> str:
    """A fix that names the closest of the `known` words, or all of them if none is close."""
    words = list(known)
    close = difflib.get_close_matches(word, words, n=1)
    if close:
        return f"write {close[0]}, if that is what you meant"
    return f"use one of: {', '.join(words)}" if words else "there is none to choose from"
