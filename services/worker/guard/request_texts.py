"""The texts of a chat-completions body that the guard checks, and the body with other texts in their places."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct

from penstock.contract.guard.checks import CheckedText
from penstock.contract.guard.places import ContentPlace
from services.worker.guard.candidates import Segmenter
from services.worker.guard.request_places import ARGUMENTS, NO_DOCUMENTS, DocumentPlaces, Places, Source

__all__ = ["RequestTexts", "rewritten", "texts_of"]


class RequestTexts(Struct, frozen=True):
    """The texts of a body, in its order."""

    texts: tuple[CheckedText, ...]
    arguments: frozenset[int] = frozenset()
    """The indices of those that are JSON text."""
    places: tuple[ContentPlace, ...] = ()
    """Where each text is."""
    fixed: int | None = None
    """The index of the last text, if it is not one of the body: the strings, one a line, that cannot be replaced."""


def texts_of(body: bytes, documents: DocumentPlaces = NO_DOCUMENTS) -> RequestTexts:
    """Every text of the body with its origin, in the order of the body.

    Texts are the contents of messages, tool-call arguments as JSON text, the results of tools, documents, a predicted
    output, the descriptions of tools and response formats, and the strings of all other fields. Names, keys and
    addresses are one text, if a finding may be in them. `documents`: each is a text of its own, and counts as a result
    of a tool, whatever the role of the message.

    Raises ValueError for a body that is not JSON, is nested too deeply, or has a key twice in an object.
    """
    found: list[CheckedText] = []
    at: list[ContentPlace] = []
    arguments: list[int] = []

    def collect(text: str, source: Source) -> str:
        if source == ARGUMENTS:
            arguments.append(len(found))
        at.append(places.place)
        found.append(CheckedText(text=text, origin="assistant" if source == ARGUMENTS else source))
        return text

    places = Places(collect, documents)
    places.visited(body)
    fixed = _fixed_text(places.fixed)
    if not fixed:
        return RequestTexts(tuple(found), frozenset(arguments), tuple(at))
    texts = (*found, CheckedText(text=fixed, origin="system"))
    return RequestTexts(texts, frozenset(arguments), (*at, ContentPlace(kind="field")), len(found))


def rewritten(body: bytes, texts: Sequence[str], documents: DocumentPlaces = NO_DOCUMENTS) -> bytes:
    """The body with `texts` in place of those of `texts_of` with the same `documents`, in the same order.

    Messages without a changed text keep their bytes. Raises ValueError as `texts_of`, for another number of texts, and
    for a change of what cannot be replaced.
    """
    left = list(reversed(texts))

    def replace(_text: str, _source: Source) -> str:
        if not left:
            raise ValueError("fewer texts than the body has")
        return left.pop()

    places = Places(replace, documents)
    changed = places.visited(body)
    fixed = _fixed_text(places.fixed)
    if fixed and not left:
        raise ValueError("fewer texts than the body has")
    if fixed and left.pop() != fixed:
        raise ValueError("names, keys and addresses cannot be replaced")
    if left:
        raise ValueError("more texts than the body has")
    return changed


def _fixed_text(strings: Iterable[str]) -> str:
    """The strings, one a line; empty if no finding can be in them."""
    text = "\n".join(strings)
    segmenter = Segmenter()
    pieces = (*segmenter.push(text), *segmenter.end()) if text else ()
    return text if any(piece.suspicious for piece in pieces) else ""
