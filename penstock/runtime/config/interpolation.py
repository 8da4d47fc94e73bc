"""`${VAR}` and `${VAR:-default}` in a text, from a given environment."""

from __future__ import annotations

import re
from collections.abc import Mapping

__all__ = ["InterpolationError", "interpolate"]

_PLACE = re.compile(r"\$\$\{|\$\{(?P<inner>[^}]*)\}|\$\{")
_INNER = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>.*))?", re.DOTALL)


class InterpolationError(ValueError):
    """A place in a text that could not be filled; says why and how to fix it."""

    def __init__(self, problem: str, fix: str) -> None:
        self.problem = problem
        self.fix = fix
        super().__init__(problem)


def interpolate(text: str, env: Mapping[str, str]) -> str:
    """Put the environment into the text; as in a shell, a default also stands in for an empty variable.

    `$${` is a literal `${`. Raises InterpolationError, which names the variable and never its value.
    """

    def fill(place: re.Match[str]) -> str:
        if place[0] == "$${":
            return "${"
        inner = _INNER.fullmatch(place["inner"] or "")
        if inner is None:
            raise InterpolationError(
                f"{place[0]} names no environment variable",
                "write ${NAME} or ${NAME:-default}; a literal ${ is written $${",
            )
        name, default = inner["name"], inner["default"]
        if default is not None:
            return env.get(name) or default
        if name not in env:
            raise InterpolationError(
                f"the environment variable {name} is not set", f"set {name}, or write ${{{name}:-default}}"
            )
        return env[name]

    return _PLACE.sub(fill, text)
