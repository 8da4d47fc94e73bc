"""Options of Penstock that a client has put into the body, where nothing reads them: ignoring them would be worse."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

from services.edge.dialects.dialect import InvalidField

__all__ = ["RETRIEVAL", "refuse_misplaced"]

RETRIEVAL: Final = frozenset(("rag", "conversation"))
"""Options that the body of a chat completion may have."""
_HEADER_PREFIX: Final = "x-penstock-"
_PLACES: Final = {
    "timeout_s": "send the header x-penstock-timeout-s",
    "deadline_ms": "send the header x-penstock-timeout-s, a number of seconds",
    "lane": "send the header x-penstock-lane",
    "rescue": "send the header x-penstock-rescue",
    "degrade": "send the header x-penstock-degrade",
    "on_disconnect": "send the header x-penstock-on-disconnect",
    "rag": "send the header x-penstock-rag",
    "conversation": "send the header x-penstock-conversation",
    "role": "write the role as model",
    "complexity": "write it after the role in model, as coding:complex",
}


def refuse_misplaced(names: Iterable[str], *, accepted: Collection[str] = ()) -> None:
    """Raises InvalidField for the first of these names of fields that is an option and not `accepted`; the error says
    where the option belongs.
    """
    for name in names:
        place = _PLACES.get(name)
        if place is None and name.lower().replace("_", "-").startswith(_HEADER_PREFIX):
            place = "send it as a header"
        if place is not None and name not in accepted:
            raise InvalidField(name[:80], f"{name[:80]} is not read from the body: {place}")
