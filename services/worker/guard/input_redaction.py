"""Redaction of the input of one request: the values that were found are replaced in the body of every attempt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from penstock.contract.guard.checks import CheckedText, Finding
from services.worker.guard.guard_checks import Refused
from services.worker.guard.placeholders import JsonPosition, Placeholders
from services.worker.guard.request_places import NO_DOCUMENTS, DocumentPlaces
from services.worker.guard.request_texts import RequestTexts, rewritten, texts_of

__all__ = ["InputRedaction"]

_FIXED: Final = (
    "the safety guard would replace {} in the request, but it is in a name, a key, an id or an address, "
    "where nothing else can be put"
)


class InputRedaction:
    """The values to replace, none at first, and their placeholders, which the answer shares.

    Methods that read a body block for long if it is large: they are meant to run in a thread then, one at a time.
    """

    def __init__(self, *, restore: bool) -> None:
        """`restore`: the answer has the values in place of their placeholders."""
        self._restore = restore
        self._findings: dict[int, list[Finding]] = {}
        """By the index of the text."""
        self.placeholders = Placeholders()

    @property
    def empty(self) -> bool:
        """Whether nothing is replaced."""
        return not self._findings

    def note(self, read: RequestTexts, findings: Sequence[Finding]) -> None:
        """Replace these findings, which do not overlap, from now on. `read`: all texts of the request.

        Raises Refused for one in a place where nothing can be put instead of it.
        """
        if not findings:
            return
        fixed = dict.fromkeys(each.name for each in findings if each.text == read.fixed)
        if fixed:
            raise Refused("invalid_request", _FIXED.format(", ".join(fixed)))
        self.placeholders = Placeholders(each.text for each in read.texts)
        for each in findings:
            self._findings.setdefault(each.text, []).append(each)

    def replaced(self, read: RequestTexts) -> tuple[CheckedText, ...]:
        """The texts of the request with placeholders; the same values get the same ones each time."""
        changed = list(read.texts)
        for index, findings in self._findings.items():
            checked = changed[index]
            is_json = index in read.arguments or _is_json(checked.text)
            text = self.placeholders.replace(
                checked.text,
                findings,
                of_request=self._restore,
                position=JsonPosition() if is_json else None,
            )
            changed[index] = replace(checked, text=text)
        return tuple(changed)

    def applied(
        self, body: Raw, *, documents: DocumentPlaces = NO_DOCUMENTS
    ) -> tuple[Raw, tuple[CheckedText, ...]]:
        """The body with placeholders, and its texts. `documents`: as of `texts_of`.

        Raises ValueError for a body that cannot be read.
        """
        texts = self.replaced(texts_of(body, documents))
        return Raw(rewritten(body, [each.text for each in texts], documents)), texts


def _is_json(text: str) -> bool:
    """Whether a text is a JSON document, whose values are restored as its reader reads them."""
    if not text.lstrip().startswith(("{", "[")):
        return False
    try:
        msgspec.json.decode(text, type=Raw)
    except (ValueError, RecursionError):
        return False
    return True
