"""What was found for one request: the messages that are put before its own, and the citations of its reply."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import islice
from typing import Final, Literal

from msgspec import Raw, Struct
from msgspec.structs import replace

from penstock.contract.guard.places import ContentPlace, LeftOut
from penstock.contract.retrieval.documents import DOCUMENT_ID_CHARACTERS, conversation_of
from penstock.contract.retrieval.search import Citation, Passage, RecalledTurns
from penstock.contract.work import ChatWork
from services.worker.guard.request_places import DocumentPlaces
from services.worker.providers.raw_json import encoded
from services.worker.retrieval.citations import cited_numbers
from services.worker.retrieval.conversation import Conversation, PlacedMessage, with_messages
from services.worker.retrieval.excerpts import count_tokens
from services.worker.retrieval.prompt import MarkedTexts, conversations_text, passages_text

__all__ = ["NOTHING_RETRIEVED", "Found", "Kind", "Retrieved", "retrieved"]

Kind = Literal["passages", "whole", "memory"]
_MOST_CITATIONS: Final = 500
"""Of a reply, whose terminal event is one message: with the longest texts they take 1.5 MB."""
_CITED_CHARACTERS: Final = 500
"""Longest title, source and heading in a citation."""


class Retrieved(Struct, frozen=True, kw_only=True):
    """What one request has before its own messages."""

    messages: tuple[PlacedMessage, ...] = ()
    citations: tuple[Citation, ...] = ()
    recalled: tuple[RecalledTurns, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    """What was found for the request, and is not put before the model because the policy blocks it."""
    tokens: int = 0
    """Estimated, of `messages`."""
    question: str = ""
    """The text of the last message of the user."""
    kind: Kind = "memory"

    @property
    def documents(self) -> DocumentPlaces:
        """Where the body has texts of documents: the indices of `messages`, with places in their contents."""
        return {each.index: each.documents for each in self.messages}

    def added_to(self, body: Raw) -> Raw:
        """The body with `messages`. Raises ValueError or RecursionError for a body that cannot be read."""
        return with_messages(body, self.messages)

    def cited(self, text: str) -> tuple[Citation, ...]:
        """The citations, those marked to which `text` refers. Of very many, others are left out."""
        if not self.citations:
            return ()
        numbers = cited_numbers(text, len(self.citations))
        if len(self.citations) > _MOST_CITATIONS:
            others = (each.number for each in self.citations if each.number not in numbers)
            shown = {*sorted(numbers)[:_MOST_CITATIONS]}
            shown.update(islice(others, _MOST_CITATIONS - len(shown)))
            return tuple(
                replace(each, cited=each.number in numbers) for each in self.citations if each.number in shown
            )
        return tuple(replace(each, cited=True) if each.number in numbers else each for each in self.citations)


NOTHING_RETRIEVED: Final = Retrieved()


class Found(Struct, frozen=True):
    """The passages and earlier turns for a request."""

    excerpts: tuple[Passage, ...] = ()
    whole: bool = False
    """The excerpts are all documents of the collection."""
    recalled: tuple[Passage, ...] = ()
    """Earlier turns of the user."""
    left_out: tuple[LeftOut, ...] = ()
    """What else was found, which the policy blocks."""


def retrieved(work: ChatWork, conversation: Conversation, found: Found) -> Retrieved:
    """The whole collection stands first, where the prefix of all requests is the same; what differs with each question
    stands behind the instructions of the application.
    """
    first = [passages_text(found.excerpts)] if found.whole and found.excerpts else []
    behind = [passages_text(found.excerpts)] if found.excerpts and not found.whole else []
    if found.recalled:
        behind.append(conversations_text(found.recalled))
    placed = [_placed(0, conversation.role, first)] if first else []
    if behind:
        index = conversation.instructions + len(placed)
        placed.append(_placed(index, conversation.role, behind))
    collection = "" if work.rag is None else work.rag.collection
    return Retrieved(
        messages=tuple(placed),
        citations=tuple(_citation(number, collection, each) for number, each in enumerate(found.excerpts, 1)),
        recalled=_by_conversation(found.recalled),
        left_out=found.left_out[:_MOST_CITATIONS],
        tokens=sum(count_tokens(each.rules) + count_tokens(each.data) for each in (*first, *behind)),
        question=conversation.questions[-1] if conversation.questions else "",
        kind="whole" if found.whole else "passages" if found.excerpts else "memory",
    )


def _by_conversation(recalled: Sequence[Passage]) -> tuple[RecalledTurns, ...]:
    """A turn of which two parts were found is one."""
    turns = Counter(map(conversation_of, dict.fromkeys(each.document for each in recalled)))
    return tuple(RecalledTurns(conversation=each, turns=number) for each, number in turns.items())


def _placed(index: int, role: str, texts: Sequence[MarkedTexts]) -> PlacedMessage:
    """One message, since some models accept only one of this role; all its rules come first."""
    content = "".join(each.rules for each in texts)
    documents: list[tuple[int, int, ContentPlace]] = []
    for number, each in enumerate(texts):
        content += "\n" if number else ""
        documents += [
            (len(content) + start, len(content) + end, place) for start, end, place in each.documents
        ]
        content += each.data
    return PlacedMessage(index, encoded({"role": role, "content": content}), tuple(documents))


def _citation(number: int, collection: str, excerpt: Passage) -> Citation:
    return Citation(
        number=number,
        collection=collection,
        document=excerpt.document[:DOCUMENT_ID_CHARACTERS],
        chunk=excerpt.chunk[:DOCUMENT_ID_CHARACTERS],
        title=excerpt.title[:_CITED_CHARACTERS],
        source=(excerpt.source or excerpt.document)[:_CITED_CHARACTERS],
        heading=excerpt.heading[:_CITED_CHARACTERS],
        page=excerpt.page,
        start=excerpt.start,
        end=excerpt.end,
        score=excerpt.score,
    )
