"""H1, H3, H4: documents are indexed, searched, asked about and forgotten by commands beside a real `penstock up`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.harness.nats.binary import require_nats_server
from tests.harness.processes.penstock_up import PenstockUp

pytestmark = pytest.mark.timeout(180)

PAGES = {
    "mill.md": "# The mill\n\nThe water wheel of the mill turns twelve times in a minute, and grinds rye.\n",
    "boats.md": "# Boats\n\nA ferry takes passengers across the lake in the morning and in the evening.\n",
    "guides/keys.md": "# Keys\n\nA lost key of the gate is replaced by the warden within two days.\n",
}


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PenstockUp]:
    require_nats_server()
    running = PenstockUp(tmp_path_factory.mktemp("up"))
    yield running
    for process in running.started:
        if process.poll() is None:
            process.terminate()
    assert running.process.wait(60) == 0, running.text()


@pytest.fixture
def pages(tmp_path: Path) -> Path:
    folder = tmp_path / "pages"
    for name, text in PAGES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def index(up: PenstockUp, *arguments: str) -> dict[str, object]:
    done = up.run("index", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


def search(up: PenstockUp, collection: str, question: str, *options: str) -> list[dict[str, object]]:
    done = up.run("search", question, "--collection", collection, "--json", *options)
    assert not done.stderr, done.stderr
    passages: list[dict[str, object]] = json.loads(done.stdout)["passages"]
    return passages


def until(condition: Callable[[], object], timeout_s: float = 60.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.1)


def test_h1_a_folder_is_indexed_and_only_changes_are_embedded_later(up: PenstockUp, pages: Path):
    first = up.run("index", str(pages), "--collection", "changes")
    assert first.returncode == 0, first.stderr
    row = first.stdout.splitlines()[2].split()
    assert row[:3] == ["3", "3", "0"]
    assert "Collection changes, vectors of local-multilingual" in first.stdout

    again = index(up, str(pages), "--collection", "changes")
    assert (again["unchanged"], again["indexed"], again["embedded"], again["tokens"]) == (3, 0, 0, 0)

    (pages / "boats.md").write_text("# Boats\n\nThe ferry sank in a storm.\n")
    (pages / "mill.md").unlink()
    changed = index(up, str(pages), "--collection", "changes", "--delete-missing")
    assert (changed["indexed"], changed["unchanged"], changed["deleted"]) == (1, 1, 1)
    assert changed["embedded"] == 1
    assert changed["chunks_deleted"] == 2, "that of the page that is gone, and the one that was replaced"
    assert {each["document"] for each in search(up, "changes", "What grinds rye?")} <= {
        "boats.md",
        "guides/keys.md",
    }


def test_l3_an_unknown_collection_is_answered_with_those_that_exist(up: PenstockUp, pages: Path):
    assert up.run("index", str(pages), "--collection", "known").returncode == 0
    done = up.run("search", "rye", "--collection", "knwon")
    assert done.returncode == 1
    assert "there is no collection 'knwon'; " in done.stderr
    assert "known" in done.stderr.partition("; ")[2]


def test_h1_a_dry_run_sends_nothing(up: PenstockUp, pages: Path):
    done = up.run("index", str(pages), "--collection", "dry", "--dry-run", "--exclude", "guides")
    assert done.returncode == 0
    assert [line.split()[-1] for line in done.stdout.splitlines()[:2]] == ["boats.md", "mill.md"]
    assert "2 files" in done.stdout
    assert "dry" not in up.run("collections", "list").stdout


def test_h1_a_refused_document_is_named_and_the_others_are_indexed(up: PenstockUp, pages: Path):
    (pages / "broken.pdf").write_bytes(b"%PDF-1.7\nthis is no PDF")
    done = up.run("index", str(pages), "--collection", "refused")
    assert done.returncode == 1
    assert "Not indexed: 1 document\n  broken.pdf: " in done.stderr
    assert done.stdout.splitlines()[2].split()[0] == "3"
    assert search(up, "refused", "ferry")


def test_h1_a_watched_folder_is_kept_up_to_date_until_ctrl_c(up: PenstockUp, pages: Path, tmp_path: Path):
    output = tmp_path / "watch.log"
    watching = up.start("index", str(pages), "--collection", "watched", "--watch", output=output)
    until(lambda: "Ctrl-C ends it" in output.read_text())
    (pages / "gate.md").write_text("# Gate\n\nThe gate opens at noon.\n")
    until(lambda: "1 document changed" in output.read_text())
    assert search(up, "watched", "When does the gate open?")[0]["document"] == "gate.md"
    (pages / "gate.md").unlink()
    until(lambda: "1 deleted" in output.read_text())
    assert "gate.md" not in {each["document"] for each in search(up, "watched", "When does the gate open?")}
    watching.send_signal(signal.SIGINT)
    assert watching.wait(60) == 0, output.read_text()


def test_h1_a_watched_file_that_cannot_be_sent_any_more_is_named_and_its_document_stays(
    up: PenstockUp, pages: Path, tmp_path: Path
):
    output = tmp_path / "watch.log"
    (pages / "pump").write_text("The pump starts at dawn.\n")
    (pages / "well.md").write_text("The well is twelve metres deep.\n")
    watching = up.start("index", str(pages), "--collection", "turning", "--watch", output=output)
    until(lambda: "Ctrl-C ends it" in output.read_text())
    (pages / "pump").write_bytes(b"\x7fELF\0\0\0")
    until(lambda: "1 file left out, not documents" in output.read_text())
    (pages / "boats.md").write_bytes(b"\0\1\2")
    until(lambda: "boats.md: is binary data, and no MD document" in output.read_text())
    os.truncate(pages / "mill.md", 100 * 2**20)  # a sparse file
    until(lambda: "mill.md: has 100.0 MiB, more than " in output.read_text())
    (pages / "well.md").unlink()
    (pages / "gate.md").write_text("# Gate\n\nThe gate opens at noon.\n")
    until(lambda: "1 document changed" in output.read_text())
    listed = json.loads(up.run("collections", "show", "turning", "--json").stdout)["documents"]
    kept = {"boats.md", "gate.md", "guides/keys.md", "mill.md", "pump", "well.md"}
    assert {each["id"] for each in listed} == kept
    assert search(up, "turning", "When does the pump start?")[0]["text"] == "The pump starts at dawn."
    (pages / "mill.md").unlink()
    until(lambda: "2 deleted" in output.read_text())
    assert watching.poll() is None
    watching.send_signal(signal.SIGINT)
    assert watching.wait(30) == 0, output.read_text()


def test_h1_ctrl_c_ends_the_command_and_the_next_one_goes_on(up: PenstockUp, tmp_path: Path):
    for number in range(1_500):
        (tmp_path / f"page{number}.md").write_text(
            f"Page {number} has a text of its own about number {number}."
        )
    output = tmp_path.parent / f"{tmp_path.name}.log"
    indexing = up.start("index", str(tmp_path), "--collection", "interrupted", output=output)
    until(lambda: "interrupted" in up.run("collections", "list").stdout)
    indexing.send_signal(signal.SIGINT)
    assert indexing.wait(60) == 130
    assert "the same command goes on" in output.read_text()
    assert "Traceback" not in output.read_text()
    done = index(up, str(tmp_path), "--collection", "interrupted")
    assert done["indexed"] + done["unchanged"] == 1_500  # type: ignore[operator]
    assert done["refused"] == []


def test_h3_a_search_finds_by_meaning_and_by_metadata(up: PenstockUp, pages: Path):
    index(up, str(pages), "--collection", "found", "--metadata", "team=docs", "--metadata", "year=2026")
    assert search(up, "found", "Who helps me when I cannot find my key?")[0]["document"] == "guides/keys.md"
    assert search(up, "found", "Göl üzerinde yolcu taşıyan tekne")[0]["document"] == "boats.md"
    assert search(up, "found", "ferry", "--filter", "team=docs", "--filter", "year=2026")
    assert search(up, "found", "ferry", "--filter", "team=other") == []
    assert search(up, "found", "ferry", "--mode", "text", "--top-k", "1")[0]["document"] == "boats.md"
    text = up.run("search", "ferry", "--collection", "found").stdout
    assert text.startswith("1. boats.md · Boats")
    none = up.run("search", "ferry", "--collection", "found", "--min-score", "1")
    assert (none.returncode, none.stdout) == (1, "No passage was found.\n")
    unknown = up.run("search", "ferry", "--collection", "nothing")
    assert unknown.returncode == 1
    assert unknown.stderr.startswith("penstock: ")
    assert "nothing" in unknown.stderr


def test_h2_an_answer_is_printed_with_its_sources(up: PenstockUp, pages: Path):
    index(up, str(pages), "--collection", "asked")
    done = up.run("ask", "How often does the water wheel turn?", "--collection", "asked", "--top-k", "2")
    assert done.returncode == 0, done.stderr
    answer, _, sources = done.stdout.partition("\nSources (* cited in the answer):\n")
    assert "turns twelve times in a minute" in answer
    assert "[1]" in answer
    assert sources.startswith("* [1] mill.md")
    assert len(sources.splitlines()) <= 2


def test_h3_collections_are_listed_shown_and_dropped(up: PenstockUp, pages: Path):
    index(up, str(pages), "--collection", "dropped")
    assert "dropped" in up.run("collections", "list").stdout
    shown = up.run("collections", "show", "dropped").stdout
    assert "documents   3" in shown
    assert "guides/keys.md" in shown
    refused = up.run("collections", "drop", "dropped", text="")
    assert refused.returncode == 1
    assert "add --yes" in refused.stderr
    dropped = up.run("collections", "drop", "dropped", "--yes")
    assert dropped.stdout == "Dropped dropped: 3 documents in 3 chunks.\n"
    assert up.run("collections", "show", "dropped").returncode == 1
    assert "dropped" not in up.run("collections", "list").stdout


def test_h4_a_conversation_is_remembered_and_forgotten(up: PenstockUp):
    def ask(conversation: str, text: str) -> subprocess.CompletedProcess[str]:
        return up.run("ask", text, "--user", "ann", "--conversation", conversation)

    assert ask("trip", "I travel to Izmir in May, by train.").returncode == 0
    assert ask("work", "My report about pumps is late.").returncode == 0
    until(lambda: "2 turns in 2 conversations" in up.run("memory", "list", "--user", "ann").stdout)
    assert up.run("memory", "list", "--user", "bob").stdout == "Nothing is remembered of bob.\n"
    listed = json.loads(up.run("memory", "list", "--user", "ann", "--json").stdout)
    assert [(each["conversation"], each["turns"]) for each in listed] == [("trip", 1), ("work", 1)]
    one = up.run("memory", "forget", "--user", "ann", "--conversation", "trip", "--yes")
    assert one.stdout.startswith("Forgotten of conversation trip of ann: 1 turn in ")
    left = up.run("memory", "list", "--user", "ann").stdout
    assert "work" in left
    assert "trip" not in left
    assert up.run("memory", "forget", "--user", "ann", "--yes").returncode == 0
    assert up.run("memory", "list", "--user", "ann").stdout == "Nothing is remembered of ann.\n"


def test_h3_the_status_shows_the_indexer_and_the_role_embed(up: PenstockUp):
    lines = up.run("status").stdout.splitlines()
    assert any(line.startswith("indexer") and line.rstrip().endswith("alive") for line in lines)
    assert any(line.split()[:2] == ["embed", "1"] for line in lines)


def test_k2_the_index_is_inside_the_data_directory(up: PenstockUp, pages: Path):
    index(up, str(pages), "--collection", "inside")
    assert any((up.directory / ".penstock" / "index").iterdir())


def test_h4_a_collection_of_damaged_files_is_listed_dropped_and_indexed_again(up: PenstockUp, pages: Path):
    known = set((up.directory / ".penstock" / "index").glob("*.lance"))
    index(up, str(pages), "--collection", "damaged")
    (table,) = set((up.directory / ".penstock" / "index").glob("*.lance")) - known
    for path in (table / "data").iterdir():
        path.write_bytes(b"")
    listed = up.run("collections", "list").stdout.splitlines()
    assert " ? " in next(line for line in listed if line.startswith("damaged"))
    dropped = up.run("collections", "drop", "damaged", "--yes")
    assert dropped.returncode == 0, dropped.stderr
    assert dropped.stdout == (
        "Dropped damaged: an unknown number of documents, because its table cannot be read.\n"
    )
    assert not table.exists()
    assert index(up, str(pages), "--collection", "damaged")["indexed"] == 3
    assert up.run("collections", "drop", "damaged", "--yes").stdout == (
        "Dropped damaged: 3 documents in 3 chunks.\n"
    )
