"""H4: what `penstock memory forget` sends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import pytest

from penstock.cli.commands.retrieval import memory
from penstock.cli.errors import CommandError
from penstock.contract.retrieval.documents import MEMORY, IndexReport, RefusedDocument
from penstock.contract.retrieval.search import DocumentsReport, DocumentStatus


class RunningSystem:
    """The memory of a user; after each deletion a running request stores one of `later`."""

    def __init__(self, *turns: str, later: tuple[str, ...] = ()) -> None:
        self.turns = list(turns)
        self.later = list(later)
        self.refused: tuple[str, ...] = ()
        self.sent: list[dict[str, Any]] = []

    async def documents(
        self, collection: str, *, prefix: str, after: str, memory_of_user: str
    ) -> DocumentsReport:
        assert (collection, after, memory_of_user) == ("", "", "ann")
        found = [turn for turn in self.turns if turn.startswith(prefix)]
        return DocumentsReport(documents=tuple(DocumentStatus(id=turn, chunks=2) for turn in found))

    async def index_and_wait(self, collection: str, **change: Any) -> IndexReport:
        assert (collection, change.pop("user")) == (MEMORY, "ann")
        self.sent.append(change)
        gone = self.turns if change.get("drop") else list(change["delete"])
        self.turns = [turn for turn in self.turns if turn not in gone]
        if self.later:
            self.turns.append(self.later.pop(0))
        refused = tuple(RefusedDocument(id=turn, reason="later") for turn in self.refused)
        return IndexReport(
            collection=MEMORY, deleted=len(gone), chunks_deleted=2 * len(gone), refused=refused
        )


def forget(system: RunningSystem, monkeypatch: pytest.MonkeyPatch, conversation: str = "") -> int:
    def with_client(_: Path, call: Callable[[Any], Awaitable[Any]]) -> Any:
        return asyncio.run(cast("Any", call(system)))

    monkeypatch.setattr(memory, "with_client", with_client)
    return memory.forget("ann", conversation, Path(), without_question=True)


def test_h4_a_whole_user_is_forgotten_by_one_change_after_the_queued_turns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    system = RunningSystem("trip/1", "work/1")
    assert forget(system, monkeypatch) == 0
    assert system.sent == [{"drop": True}]
    assert "Forgotten of ann: 2 turns in 4 chunks" in capsys.readouterr().out


def test_h4_turns_that_are_stored_meanwhile_are_forgotten_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    system = RunningSystem("trip/1", "work/1", later=("trip/2", "trip/3", "trip/4", "trip/5"))
    assert forget(system, monkeypatch, "trip") == 0
    assert [change["delete"] for change in system.sent] == [[f"trip/{number}"] for number in range(1, 6)]
    assert system.turns == ["work/1"]
    assert "conversation trip of ann: 5 turns in 10 chunks" in capsys.readouterr().out


def test_h4_a_conversation_that_goes_on_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    system = RunningSystem("trip/1", later=tuple(f"trip/{number}" for number in range(2, 10)))
    with pytest.raises(CommandError, match="forget again"):
        forget(system, monkeypatch, "trip")
    assert len(system.sent) == 5


def test_h4_a_whole_user_of_whom_nothing_is_listed_yet_is_forgotten_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    system = RunningSystem()
    assert forget(system, monkeypatch) == 0
    assert system.sent == [{"drop": True}]
    assert "Nothing is remembered of ann." in capsys.readouterr().out


def test_h4_turns_that_the_indexer_keeps_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    for conversation in ("", "trip"):
        system = RunningSystem("trip/1", "work/1")
        system.refused = ("trip/1",)
        with pytest.raises(CommandError, match="1 turn of later requests cannot be deleted"):
            forget(system, monkeypatch, conversation)


def test_h4_a_conversation_with_a_slash_is_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    system = RunningSystem("trip/1", "trip/2026/2")
    assert forget(system, monkeypatch, "trip") == 0
    assert system.turns == ["trip/2026/2"]
