"""Filters as tags: of each pair of key and value in the metadata of a document there is a digest in the store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from penstock.contract.retrieval.documents import Metadata
from penstock.contract.retrieval.search import Filters
from services.indexer.store.interface import FilterTerm
from services.indexer.store.tables import document_key, tag

__all__ = ["document_tags", "of_documents", "terms_of"]

_Value = str | int | float | bool


def document_tags(document: str, metadata: Metadata) -> tuple[str, ...]:
    """One for the document itself, and one for each value of the metadata."""
    pairs = (tag(key, _text(value)) for key, values in metadata.items() for value in _each(values))
    return tuple(dict.fromkeys((document_key(document), *pairs)))


def of_documents(documents: Iterable[str]) -> tuple[FilterTerm, ...]:
    """The chunks of these documents."""
    return (FilterTerm(tuple(document_key(each) for each in documents)),)


def terms_of(filters: Filters, exclude: Filters) -> tuple[FilterTerm, ...]:
    """Each key of `filters` with one of its values, and none of the values in `exclude`."""
    return (*_terms(filters, negated=False), *_terms(exclude, negated=True))


def _terms(filters: Mapping[str, _Value | list[_Value]], *, negated: bool) -> Iterable[FilterTerm]:
    for key, values in filters.items():
        yield FilterTerm(tuple(tag(key, _text(value)) for value in _each(values)), negated=negated)


def _each(values: _Value | list[str] | list[_Value]) -> Iterable[_Value]:
    return values if isinstance(values, list) else (values,)


def _text(value: _Value) -> str:
    """A text, a number and a truth value are different, whatever they look like; 1 and 1.0 are the same number."""
    if isinstance(value, bool):
        return f"b{value}"
    if isinstance(value, str):
        return f"s{value}"
    whole = isinstance(value, int) or value.is_integer()
    return f"n{int(value)}" if whole else f"n{value!r}"
