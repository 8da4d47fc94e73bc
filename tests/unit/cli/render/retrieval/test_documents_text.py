"""H1, H3, H4: what the commands about documents print, safe for a terminal."""

from __future__ import annotations

import io
from pathlib import Path

from msgspec.structs import replace

from penstock.cli.render.retrieval.collections import (
    RememberedConversation,
    collection_text,
    collections_text,
    documents_text,
    memory_text,
    remembered_conversations,
)
from penstock.cli.render.retrieval.passages import passages_text, recalled_text, sources_text
from penstock.cli.render.retrieval.progress import LineProgress
from penstock.cli.render.retrieval.report import (
    changes_line,
    dry_run_text,
    problem_lines,
    stopped_text,
    totals_text,
)
from penstock.cli.retrieval.files import FileProblem, FoundFile, FoundFiles
from penstock.cli.retrieval.totals import IndexTotals
from penstock.contract.guard.places import LeftOut
from penstock.contract.retrieval.collections import CollectionStatus
from penstock.contract.retrieval.documents import IndexReport, RefusedDocument
from penstock.contract.retrieval.search import Citation, DocumentStatus, Passage, RecalledTurns, SearchAnswer

HOSTILE = "\x1b[2Jname\u202e"
DAY_MS = 1_796_000_000_000


def printable(text: str) -> bool:
    return all(letter.isprintable() or letter == "\n" for letter in text)


def totals(**figures) -> IndexTotals:
    found = IndexTotals.of_collection("docs")
    found.add(IndexReport(collection="docs", **figures))
    return found


def test_h1_the_summary_is_a_table_of_documents_chunks_and_cost():
    text = totals_text(
        totals(
            indexed=3,
            unchanged=39,
            deleted=1,
            chunks=1_234,
            embedded=10,
            from_cache=2,
            tokens=900,
            cost_microusd=1_500,
            model="local-encoder",
            dimensions=256,
        )
    )
    titles, _, row, collection = text.splitlines()
    assert titles == (
        "documents  added or replaced  deleted  chunks  chunks embedded  chunks from cache  tokens     cost"
    )
    assert row.split() == ["42", "3", "1", "1,234", "10", "2", "900", "$0.0015"]
    assert collection == "Collection docs, vectors of local-encoder, 256 dimensions."


def test_h1_the_summary_explains_new_chunks_that_are_neither_embedded_nor_cached():
    text = totals_text(totals(indexed=20, chunks=155, changed=155, embedded=152))
    assert text.splitlines()[-1] == "Chunks with the text, and the vector, of another one: 3."
    assert "another one" not in totals_text(
        totals(indexed=20, chunks=155, changed=155, embedded=150, from_cache=5)
    )
    refused = (RefusedDocument(id="a", reason="broken"),)
    assert "another one" not in totals_text(totals(chunks=155, changed=155, embedded=152, refused=refused))


def test_h1_refused_documents_are_listed_with_their_reason():
    found = totals(refused=tuple(RefusedDocument(id=f"{HOSTILE}{n}", reason="broken") for n in range(60)))
    found.problems.append(FileProblem(id="a.md", path=Path("/folder/a.md"), reason="permission denied"))
    lines = problem_lines(found.problems, found.report.refused)
    assert lines[0] == "Not indexed: 61 documents"
    assert lines[1] == "  a.md: permission denied"
    assert lines[-1] == "  and 11 more (--json lists them)"
    assert len(lines) == 52
    assert printable("\n".join(lines))
    assert problem_lines([]) == []


def test_m10_a_stopped_command_goes_on_only_where_it_can():
    assert stopped_text(totals(indexed=2, unchanged=1), can_go_on=True) == (
        "Stopped after 3 documents: what is indexed stays, and the same command goes on."
    )
    assert (
        stopped_text(totals(indexed=1), can_go_on=False) == "Stopped after 1 document: what is indexed stays."
    )
    assert stopped_text(totals(), can_go_on=False) == "Stopped before a document was indexed."


def test_h1_a_dry_run_lists_what_is_sent_and_what_is_deleted():
    file = FoundFile(id="guides/a.md", path=Path("x"), size=2_048, mtime_ns=1, inode=1)
    text = dry_run_text(FoundFiles(files=(file,)), ["old.md"])
    assert text.splitlines() == [
        "   2.0 KiB  guides/a.md",
        "    delete  old.md",
        "1 file, 2.0 KiB, would be sent, 1 would be deleted. Unchanged ones cost nothing.",
    ]


def test_m5_files_that_are_no_documents_are_named_up_to_a_few():
    found = totals(indexed=1)
    found.left_out = ["a.bin", "b.bin"]
    assert totals_text(found).splitlines()[-1] == "Left out, not documents: 2 files (a.bin, b.bin)."
    names = tuple(f"{HOSTILE}{number}.bin" for number in range(5))
    line = dry_run_text(FoundFiles(files=(), left_out=names), []).splitlines()[-1]
    assert line.startswith("Left out, not documents: 5 files (")
    assert line.endswith("2.bin and 2 more).")
    assert printable(line)


def test_h1_changes_of_a_watched_folder_are_one_line():
    line = changes_line(totals(indexed=2, deleted=1, embedded=3, from_cache=4, cost_microusd=20), "12:00:01")
    assert line == "12:00:01  2 documents changed, 1 deleted, 3 chunks embedded, 4 from cache, $0.00002"
    left_out = totals()
    left_out.left_out = ["a.bin", "b.bin"]
    assert changes_line(left_out, "12:00:01").endswith(", 2 files left out, not documents")


def test_h1_lines_of_progress_come_every_few_seconds():
    now, out = [0.0], io.StringIO()
    progress = LineProgress(1_000, out, lambda: now[0])
    for _ in range(100):
        now[0] += 0.11
        progress.advance(10, 25)
    assert out.getvalue().splitlines() == [
        "460 of 1,000 documents, 1,150 chunks",
        "920 of 1,000 documents, 2,300 chunks",
    ]


PASSAGE = Passage(
    document="guard.md",
    chunk="c" * 32,
    text=f"Secrets are found.\n\n{HOSTILE}",
    heading="The guard > Secrets",
    page=3,
    score=0.8234,
)


def test_h3_passages_have_their_place_and_similarity():
    text = passages_text(SearchAnswer(passages=(PASSAGE,), model="local-encoder", took_ms=12.4))
    assert text.splitlines() == [
        "1. guard.md · The guard > Secrets · page 3  similarity 0.82",
        "   Secrets are found. \\x1b[2Jname\\u202e",
        "[1 found in 12 ms, vectors of local-encoder]",
    ]
    assert passages_text(SearchAnswer(passages=())) == "No passage was found."


def test_h3_an_order_that_is_not_that_of_the_similarity_is_explained():
    passages = (PASSAGE, replace(PASSAGE, score=0.9))
    text = passages_text(SearchAnswer(passages=passages, model="local-encoder", took_ms=12.4))
    assert text.endswith(
        "[2 found in 12 ms, vectors of local-encoder; ordered by meaning and words, not by similarity alone]"
    )
    sources = sources_text((citation(1, score=0.3, cited=True), citation(2, score=0.4)))
    assert sources.startswith(
        "Sources (* cited in the answer; ordered by meaning and words, not by similarity alone):"
    )


def test_m4_a_similarity_that_is_not_known_is_no_number():
    text = passages_text(SearchAnswer(passages=(replace(PASSAGE, score=0.0),), took_ms=3.0))
    assert text.splitlines()[0] == "1. guard.md · The guard > Secrets · page 3  -"


def citation(number: int, **fields) -> Citation:
    return Citation(number=number, collection="docs", document="guard.md", chunk="c", **fields)


def test_h2_sources_mark_what_the_answer_cites():
    text = sources_text(
        (
            citation(1, title="The guard", score=0.9, cited=True),
            citation(2, source="https://a.test/guard", score=0.5),
        )
    )
    assert text.splitlines() == [
        "Sources (* cited in the answer):",
        "* [1] guard.md · The guard  similarity 0.90",
        "  [2] guard.md (https://a.test/guard)  similarity 0.50",
    ]
    out = (LeftOut(kind="passage", name="a.md", findings=("prompt_injection",)),)
    assert sources_text((), out) == "Sources: none. The safety guard left out all passages that were found."
    assert sources_text((citation(1),)).startswith("Sources (the answer cites none of them):")
    assert (
        sources_text(()) == "Sources: none. No passage of the collection fits the question and the filters."
    )
    assert printable(sources_text((citation(1, source=HOSTILE, heading=HOSTILE),)))


def test_h4_recalled_turns_are_counted_by_conversation():
    turns = (RecalledTurns(conversation="trip", turns=2), RecalledTurns(conversation=HOSTILE, turns=1))
    assert recalled_text(turns[:1]) == "Recalled: 2 turns of trip."
    assert "2 turns of trip, 1 turn of " in recalled_text(turns)
    assert printable(recalled_text(turns))


STATUS = CollectionStatus(
    name="docs",
    model=f"m{HOSTILE}",
    dimensions=256,
    documents=42,
    chunks=1_234,
    tokens=99_000,
    bytes=3 * 2**20,
    building="other",
    updated_ms=DAY_MS,
)


def test_h3_collections_are_a_table_and_one_is_a_list_of_facts():
    row = collections_text([STATUS], "").splitlines()[2]
    for part in ("docs", "42", "1,234", "99,000", "3.0 MiB", "256", "2026-11-30"):
        assert part in row
    assert collections_text([], "penstock index docs") == "No collections. Make one: penstock index docs"
    facts = collection_text(STATUS)
    assert "building    vectors of other; the search uses the old ones until then" in facts
    assert printable(facts)
    assert printable(row)
    unknown = replace(STATUS, documents=0, chunks=0, tokens=0, bytes=0, sizes_known=False)
    assert collections_text([unknown], "").splitlines()[2].split()[1:5] == ["?"] * 4
    assert "documents   ?" in collection_text(unknown)


def test_h3_documents_are_a_table_that_says_if_there_are_more():
    text = documents_text([DocumentStatus(id=HOSTILE, chunks=3, updated_ms=DAY_MS)], more=True)
    assert text.endswith("and others: --all lists them")
    assert printable(text)
    assert "others" not in documents_text([DocumentStatus(id="a")], more=False)


def test_h4_memory_is_listed_by_conversation():
    turns = [
        DocumentStatus(id=f"trip/{number}", updated_ms=DAY_MS + number * 60_000, chunks=1)
        for number in range(3)
    ]
    turns.append(DocumentStatus(id="work/2026/9", updated_ms=DAY_MS, chunks=2))
    conversations = remembered_conversations(turns)
    assert conversations == [
        RememberedConversation("trip", turns=3, chunks=3, first_ms=DAY_MS, updated_ms=DAY_MS + 120_000),
        RememberedConversation("work/2026", turns=1, chunks=2, first_ms=DAY_MS, updated_ms=DAY_MS),
    ]
    lines = memory_text(conversations, "ann").splitlines()
    assert lines[2].split() == ["trip", "3", *lines[2].split()[2:]]
    assert lines[2].count("2026-11-30") == 2
    assert lines[-1] == "4 turns in 2 conversations"
    assert memory_text([], HOSTILE) == "Nothing is remembered of \\x1b[2Jname\\u202e."


def test_f4_the_totals_say_that_a_price_is_unknown():
    found = totals(embedded=3)
    for _ in range(2):
        found.add(IndexReport(collection="docs", embedded=3, unpriced_attempts=1))
    assert found.report.unpriced_attempts == 2
    assert totals_text(found).splitlines()[2].endswith("price unknown")
    assert changes_line(found, "12:00:01").endswith(", price unknown")
