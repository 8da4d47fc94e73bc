"""H4: what `penstock memory forget` sends and prints."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import pytest

from penstock.cli.commands.retrieval import memory
from penstock.cli.errors import CommandError
from penstock.contract.retrieval.documents import MEMORY, IndexReport, RefusedDocument, conversation_of
from penstock.contract.retrieval.search import DocumentsReport, DocumentStatus


class RunningSystem:
    """The memory of a user, of whose turns the indexer keeps those of `later` requests."""

    def __init__(self, *turns: str, later: tuple[str, ...] = ()) -> None:
        self.turns = list(turns)
        self.later = later
        self.forgotten: list[tuple[str, str]] = []

    async def documents(self, collection: str, *, prefix: str, after: str, user: str) -> DocumentsReport:
        assert (collection, after, user) == ("", "", "ann")
        found = [turn for turn in self.turns if turn.startswith(prefix)]
        return DocumentsReport(documents=tuple(DocumentStatus(id=turn, chunks=2) for turn in found))

    async def forget(self, user: str, conversation: str) -> IndexReport:
        self.forgotten.append((user, conversation))
        gone = [
            turn
            for turn in self.turns
            if turn not in self.later and conversation in {"", conversation_of(turn)}
        ]
        return IndexReport(
            collection=MEMORY,
            deleted=len(gone),
            chunks_deleted=2 * len(gone),
            refused=tuple(RefusedDocument(id=turn, reason="later") for turn in self.later),
        )


def forget(system: RunningSystem, monkeypatch: pytest.MonkeyPatch, conversation: str = "") -> int:
    def with_client(_: Path, call: Callable[[Any], Awaitable[Any]]) -> Any:
        return asyncio.run(cast("Any", call(system)))

    monkeypatch.setattr(memory, "with_client", with_client)
    return memory.forget("ann", conversation, Path(), without_question=True)


@pytest.mark.parametrize(
    ("conversation", "printed"),
    [
        ("", "Forgotten of ann: 3 turns in 6 chunks"),
        ("trip", "Forgotten of conversation trip of ann: 1 turn in 2 chunks"),
        ("trip/2026", "Forgotten of conversation trip/2026 of ann: 1 turn in 2 chunks"),
    ],
)
def test_h4_a_user_or_a_conversation_is_forgotten_by_one_request_after_the_queued_turns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], conversation: str, printed: str
) -> None:
    system = RunningSystem("trip/1", "trip/2026/1", "work/1")
    assert forget(system, monkeypatch, conversation) == 0
    assert system.forgotten == [("ann", conversation)]
    assert printed in capsys.readouterr().out


@pytest.mark.parametrize("conversation", ["", "trip"])
def test_h4_what_is_listed_in_no_memory_yet_is_forgotten_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], conversation: str
) -> None:
    system = RunningSystem()
    assert forget(system, monkeypatch, conversation) == 0
    assert system.forgotten == [("ann", conversation)]
    assert "Nothing is remembered of " in capsys.readouterr().out


@pytest.mark.parametrize("conversation", ["", "trip"])
def test_h4_turns_that_the_indexer_keeps_are_reported(
    monkeypatch: pytest.MonkeyPatch, conversation: str
) -> None:
    system = RunningSystem("trip/1", "trip/2", later=("trip/1",))
    with pytest.raises(CommandError, match="1 turn of later requests cannot be deleted"):
        forget(system, monkeypatch, conversation)
