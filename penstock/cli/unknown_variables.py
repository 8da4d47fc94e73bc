"""Notes about variables of the environment that nothing reads."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Final

__all__ = ["AskedVariables", "unknown_variable_notes"]

_PREFIX: Final = "PENSTOCK_"
_OTHERS: Final = frozenset(
    {
        "PENSTOCK_CATALOGUE",
        "PENSTOCK_ENCODER_URL",
        "PENSTOCK_INDEX_LOCATION",
        "PENSTOCK_INDEX_URL",
        "PENSTOCK_SIMULATOR_URL",
    }
)
"""Variables that are read with some catalogues only, or without the name of one."""


class AskedVariables(Mapping[str, str]):
    """An environment that records which variables are read, whether they are set or not."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = env
        self.asked: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self.asked.add(name)
        return self._env[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._env)

    def __len__(self) -> int:
        return len(self._env)


def unknown_variable_notes(env: AskedVariables) -> list[str]:
    """A note for each variable that begins like those of Penstock and was not read by the checks of all settings.

    It is no mistake: other programs may have such variables, as Kubernetes for a service named penstock-edge.
    """
    known = {name for name in env.asked if name.startswith(_PREFIX)} | _OTHERS
    return [
        f"Note: {name} is not a variable that Penstock reads{_meant(name, known)}."
        for name in sorted(env)
        if name.startswith(_PREFIX) and name not in known
    ]


def _meant(name: str, known: set[str]) -> str:
    # Without the beginning that all have in common, which makes unlike names look alike.
    endings = sorted(each.removeprefix(_PREFIX) for each in known)
    close = difflib.get_close_matches(name.removeprefix(_PREFIX), endings, n=1)
    return (
        f": write {_PREFIX}{close[0]}, if that is what you meant" if close else "; see docs/configuration.md"
    )
