"""Whether the libraries that an indexer loads are installed: the extra `index`, which no other service needs."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final

__all__ = ["missing_libraries_text"]

_MODULES: Final = (
    "asyncpg",
    "charset_normalizer",
    "html_to_markdown",
    "lancedb",
    "numpy",
    "pyarrow",
    "pypdf",
    "semantic_text_splitter",
)
"""Those of the extra `index` in pyproject.toml, by the names under which they are imported."""


def missing_libraries_text(modules: tuple[str, ...] = _MODULES) -> str:
    """What is missing and what to do; empty if an indexer can start."""
    missing = [name for name in modules if find_spec(name) is None]
    if not missing:
        return ""
    return (
        f"the indexer needs libraries that are not installed ({', '.join(missing)}): install the extra index "
        "(pip install 'penstock[index]'; from a clone pip install '.[index]'), or remove the section retrieval from "
        "the catalogue"
    )
