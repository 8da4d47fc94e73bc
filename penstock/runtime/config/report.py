"""Collects the mistakes of one document and finds the line of each."""

from __future__ import annotations

from penstock.runtime.config.document import Document
from penstock.runtime.config.problems import Problem

__all__ = ["Report"]


class Report:
    """One problem per key: the first is the cause, what follows from it would only distract."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._problems = {problem.key: problem for problem in reversed(document.problems)}
        self._places: dict[str, str] = {}

    def stands(self, path: str, place: str) -> None:
        """What is reported at `path` from now on stands at `place` in the file."""
        self._places[path] = place

    def add(self, path: str, problem: str, fix: str, *, quote: bool = True) -> None:
        """Report the key at `path`; `quote=False` where the value might be a secret."""
        path = self._places.get(path, path)
        written = self._document.written.get(path) if quote else None
        self._problems.setdefault(
            path, Problem(line=self._line(path), key=path, value=written, problem=problem, fix=fix)
        )

    @property
    def problems(self) -> tuple[Problem, ...]:
        """In the order of the file."""
        return tuple(sorted(self._problems.values(), key=lambda problem: (problem.line or 0, problem.key)))

    def _line(self, path: str) -> int | None:
        """The line of the key, or of the nearest thing around a key that is missing."""
        while path and path not in self._document.lines:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return self._document.lines.get(path)
