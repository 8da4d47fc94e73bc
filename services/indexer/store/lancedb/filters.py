"""Conditions over tags as LanceDB reads them: constant text and checked hex digits, nothing else."""

from __future__ import annotations

from services.indexer.store.interface import FilterTerm
from services.indexer.store.tables import checked_digests

__all__ = ["any_of", "tags_condition"]


def tags_condition(filter_: tuple[FilterTerm, ...]) -> str | None:
    """None: every chunk matches."""
    conditions = [condition for term in filter_ if (condition := _term(term)) is not None]
    return " AND ".join(conditions) or None


def any_of(column: str, digests: list[str]) -> str:
    return f"{column} IN ({_quoted(digests)})"


def _term(term: FilterTerm) -> str | None:
    if not term.tags:
        return None if term.negated else "false"
    found = f"array_has_any(tags, [{_quoted(list(term.tags))}])"
    return f"NOT {found}" if term.negated else found


def _quoted(digests: list[str]) -> str:
    return ", ".join(f"'{each}'" for each in checked_digests(digests))
