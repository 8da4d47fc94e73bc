"""H1: files are sent in a few requests at once; what was done is added up, and an error ends all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pytest

from penstock.cli.retrieval.files import FileSelection, FoundFile, find_files
from penstock.cli.retrieval.sending import IndexTarget, send_deletions, send_files
from penstock.cli.retrieval.totals import IndexTotals
from penstock.contract.reply import IndexProgress
from penstock.contract.retrieval.documents import Document, IndexReport, RefusedDocument

pytestmark = pytest.mark.real_time
TARGET = IndexTarget(collection="docs", metadata={"team": "docs"}, model="m", user="ann")


class Indexer:
    """Answers index requests, each document with two chunks."""

    def __init__(self, at_once: int = 1, fails_at: int | None = None) -> None:
        """Each waits until `at_once` have run together."""
        self.at_once = at_once
        self.requests: list[tuple[str, Sequence[Document], Sequence[str], str, str]] = []
        self.running = self.most = self.cancelled = 0
        self.fails_at = fails_at
        self.together = asyncio.Event()

    async def index_and_wait(
        self,
        collection: str,
        *,
        documents: Iterable[Document] = (),
        delete: Iterable[str] = (),
        model: str = "",
        user: str = "",
        on_progress: Callable[[IndexProgress], object] | None = None,
    ) -> IndexReport:
        documents, delete = tuple(documents), tuple(delete)
        self.requests.append((collection, documents, delete, model, user))
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            if len(self.requests) == self.fails_at:
                raise RuntimeError("refused")
            if self.running == self.at_once:
                self.together.set()
            await self.together.wait()
            if on_progress is not None:
                half = len(documents) // 2
                on_progress(
                    IndexProgress(id="r", seq=1, documents=len(documents), done=half, chunks=half * 2)
                )
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1
        refused = tuple(
            RefusedDocument(id=each.id, reason="broken") for each in documents if each.id.endswith(".pdf")
        )
        return IndexReport(
            collection=collection,
            indexed=len(documents) - len(refused),
            refused=refused,
            deleted=len(delete),
            chunks=2 * len(documents),
            chunks_deleted=2 * len(delete),
            embedded=len(documents),
            from_cache=len(documents),
            tokens=10,
            cost_microusd=3,
            model="m",
            dimensions=256,
        )


class Seen:
    def __init__(self) -> None:
        self.documents = self.chunks = 0
        self.steps: list[int] = []

    def advance(self, documents: int, chunks: int) -> None:
        self.documents += documents
        self.chunks += chunks
        self.steps.append(documents)


def files(folder: Path, count: int) -> tuple[FoundFile, ...]:
    for number in range(count):
        (folder / f"f{number:04}.md").write_text("x")
    return find_files(FileSelection(paths=(folder,))).files


async def test_h1_all_files_are_sent_once_with_three_requests_at_once(tmp_path):
    indexer, totals, seen = Indexer(at_once=3), IndexTotals.of_collection("docs"), Seen()
    sent = files(tmp_path, 1_000)
    await send_files(indexer, TARGET, sent, totals, seen)

    ids = [document.id for request in indexer.requests for document in request[1]]
    assert sorted(ids) == [file.id for file in sent]
    assert {(request[0], request[3], request[4]) for request in indexer.requests} == {("docs", "m", "ann")}
    assert all(each.metadata == {"team": "docs"} for request in indexer.requests for each in request[1])
    assert indexer.most == 3
    assert (
        totals.report.indexed,
        totals.report.chunks,
        totals.report.embedded,
        totals.report.from_cache,
    ) == (1_000, 2_000, 1_000, 1_000)
    assert (totals.report.tokens, totals.report.cost_microusd) == (50, 15)
    assert (totals.report.model, totals.report.dimensions) == ("m", 256)
    assert totals.is_complete


async def test_h1_progress_arrives_in_steps_and_ends_at_the_whole(tmp_path):
    indexer, totals, seen = Indexer(), IndexTotals.of_collection("docs"), Seen()
    (tmp_path / "picture").write_bytes(b"\0binary")
    sent = files(tmp_path, 299)
    await send_files(indexer, TARGET, sent, totals, seen)
    assert (seen.documents, seen.chunks) == (300, 598)
    assert len(seen.steps) >= 4
    assert totals.left_out == ["picture"]


async def test_h1_what_is_refused_and_what_cannot_be_read_is_kept_with_its_reason(tmp_path):
    indexer, totals = Indexer(), IndexTotals.of_collection("docs")
    (tmp_path / "a.pdf").write_text("%PDF-")
    sent = files(tmp_path, 3)
    (tmp_path / "f0001.md").unlink()
    await send_files(indexer, TARGET, sent, totals, Seen())
    assert [(each.id, each.reason) for each in totals.report.refused] == [("a.pdf", "broken")]
    assert [(each.path.name, each.reason) for each in totals.problems] == [
        ("f0001.md", "no such file or directory")
    ]
    assert not totals.is_complete


async def test_h1_an_error_ends_the_other_requests_and_is_raised(tmp_path):
    indexer, totals = Indexer(at_once=9, fails_at=3), IndexTotals.of_collection("docs")
    with pytest.raises(RuntimeError, match="refused"):
        await send_files(indexer, TARGET, files(tmp_path, 2_000), totals, Seen())
    assert len(indexer.requests) == 3
    assert indexer.cancelled == 2
    assert indexer.running == 0


async def test_h1_a_cancellation_reaches_every_request(tmp_path):
    indexer = Indexer(at_once=9)
    sending = asyncio.create_task(
        send_files(indexer, TARGET, files(tmp_path, 2_000), IndexTotals.of_collection("docs"), Seen())
    )
    while indexer.running < 3:
        await asyncio.sleep(0.01)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert (indexer.cancelled, indexer.running) == (3, 0)


async def test_h1_deletions_are_sent_in_groups():
    indexer, totals = Indexer(), IndexTotals.of_collection("docs")
    await send_deletions(indexer, TARGET, [str(number) for number in range(1_500)], totals)
    assert [len(request[2]) for request in indexer.requests] == [1_000, 500]
    assert (totals.report.deleted, totals.report.chunks_deleted) == (1_500, 3_000)
    await send_deletions(indexer, TARGET, [], totals)
    assert len(indexer.requests) == 2
