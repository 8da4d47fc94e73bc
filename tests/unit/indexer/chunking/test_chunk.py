"""H1: chunks have the right sizes, headings and places."""

from __future__ import annotations

import asyncio
import random
import time
from itertools import pairwise

import pytest

from services.indexer.chunking.chunk import Chunk, chunk
from services.indexer.chunking.settings import ChunkSettings
from services.indexer.documents.document import Extracted, Heading
from tests.harness.indexer.watching import memory_peaks

SMALL = ChunkSettings(size=200, overlap=40, smallest_section=40)
RNG = random.Random(11)
WORDS = ["pump", "valve", "клапан", "насос", "supap", "pompa", "water", "pressure", "давление", "of", "the"]


@pytest.fixture(autouse=True)
def _same_texts_whatever_ran_before() -> None:
    RNG.seed(11)


def prose(sentences: int) -> str:
    return " ".join(
        " ".join(RNG.choices(WORDS, k=RNG.randint(4, 12))).capitalize() + "." for _ in range(sentences)
    )


def guide(chapters: int) -> str:
    parts = []
    for number in range(chapters):
        parts += [f"# Chapter {number}", prose(5), f"## Details of {number}", prose(9), prose(3)]
        parts += [f"## Notes of {number}", *("- " + prose(1) for _ in range(3))]
    return "\n\n".join(parts) + "\n"


def checked(extracted: Extracted, settings: ChunkSettings = SMALL) -> list[Chunk]:
    """What is true of all chunks."""
    chunks = chunk(extracted, settings)
    assert [each.ordinal for each in chunks] == list(range(len(chunks)))
    for each in chunks:
        assert each.text == extracted.text[each.start : each.end]
        assert 0 < len(each.text) <= settings.size
    return chunks


def test_h1_chunks_of_markdown_carry_their_headings():
    chunks = checked(Extracted(guide(3), format="markdown"))
    assert {each.heading for each in chunks} == {
        *(f"Chapter {number}" for number in range(3)),
        *(f"Chapter {number} > Details of {number}" for number in range(3)),
        *(f"Chapter {number} > Notes of {number}" for number in range(3)),
    }


def test_h1_no_chunk_is_a_heading_only():
    chunks = checked(Extracted(guide(20), format="markdown"))
    assert [each.text for each in chunks if each.text.startswith("#") and "\n" not in each.text] == []


def test_h1_chunks_of_html_and_markdown_are_the_same():
    text = guide(2)
    assert chunk(Extracted(text, format="html")) == chunk(Extracted(text, format="markdown"))


@pytest.mark.parametrize("size", [200, 1_000, 4_000])
def test_h1_the_size_of_chunks_is_as_configured(size: int):
    text = "\n\n".join(prose(3) for _ in range(200))
    chunks = checked(Extracted(text), ChunkSettings(size=size, overlap=0, smallest_section=0))
    assert size * 0.5 < sum(len(each.text) for each in chunks) / len(chunks) <= size


def test_h1_chunks_of_one_paragraph_overlap():
    settings = ChunkSettings(size=500, overlap=100, smallest_section=0)
    chunks = checked(Extracted(prose(60)), settings)
    overlaps = [before.end - after.start for before, after in pairwise(chunks)]
    assert max(overlaps) <= 100
    assert sum(overlap > 0 for overlap in overlaps) > len(overlaps) / 2


def test_h1_a_chunk_of_a_pdf_knows_the_page_on_which_it_begins():
    pages = [prose(4) for _ in range(5)]
    starts = [sum(len(page) + 2 for page in pages[:number]) for number in range(5)]
    chunks = checked(Extracted("\n\n".join(pages), format="pdf", pages=tuple(starts)))
    for each in chunks:
        assert each.page is not None
        assert starts[each.page - 1] <= each.start < [*starts, 1 << 30][each.page]
    assert {each.page for each in chunks} == {1, 2, 3, 4, 5}
    assert checked(Extracted("words"))[0].page is None


def test_m2_a_chunk_of_a_pdf_is_on_one_page():
    pages = ["Short page one.", prose(3), "Short page three.", "Short page four."]
    starts = [sum(len(page) + 2 for page in pages[:number]) for number in range(4)]
    chunks = checked(Extracted("\n\n".join(pages), format="pdf", pages=tuple(starts)))
    for each in chunks:
        assert each.page is not None
        assert each.text in pages[each.page - 1]
    assert [each.text for each in chunks if each.page in {1, 3, 4}] == [pages[0], pages[2], pages[3]]


def test_h1_chunks_of_a_pdf_carry_the_headings_of_its_outline():
    text = prose(10)
    middle = text.index(". ", len(text) // 2) + 2
    headings = (Heading(0, 1, "A"), Heading(middle, 2, "B"))
    chunks = checked(Extracted(text, format="pdf", pages=(0,), headings=headings))
    assert {each.heading for each in chunks} == {"A", "A > B"}
    assert middle in {each.start for each in chunks}


def test_h1_chunks_of_source_code_are_definitions():
    body = "".join(f"        value = value + {number}  # a step of it\n" for number in range(5))
    method = "    def {}(self, value):\n{}\n"
    code = "import os\n\n\n" + "".join(
        f"class Pump{n}:\n{method.format('run', body)}{method.format('stop', body)}\n" for n in range(3)
    )
    settings = ChunkSettings(size=400, overlap=0, smallest_section=100)
    chunks = checked(Extracted(code, format="code", language="python"), settings)
    assert chunks[0].text.startswith("import os")
    assert {each.heading for each in chunks} == {
        *(f"class Pump{n} > def stop(self, value)" for n in range(3)),
        *(f"class Pump{n}" for n in range(3)),
    }
    for each in chunks[1:]:
        assert each.text.startswith(("class Pump", "def "))


@pytest.mark.parametrize("format_", ["text", "markdown", "code"])
@pytest.mark.parametrize("text", ["", " ", "\n\t\n", " \n" * 100_000, "\n" * 200_000], ids=len)
def test_h1_nothing_visible_gives_no_chunk(text: str, format_: str):
    assert chunk(Extracted(text, format=format_)) == []


HOSTILE = {
    "one line": "words " * 100_000,
    "no space": "a" * 100_000,
    "no space in other letters": "水" * 100_000,
    "blank lines between": ("a" + "\n" * 199) * 1_000,
    "spaces and lines": (" \n" * 99 + "b") * 1_000,
    "headings": "# a\n" * 40_000,
    "two levels": "## a\n# b\n" * 20_000,
    "quotes": ">" * 100_000,
    "brackets": "[" * 100_000,
    "stars": "*a " * 70_000,
    "fences": "```\n" * 50_000,
    "rules": "---\n" * 50_000,
    "table": "|a|b|\n|-|-|\n" + "|a|b|\n" * 40_000,
    "accents": "a" + "\u0301" * 150_000,
    "joined emoji": "\U0001f468\u200d" * 50_000,
    "tags": "<b>" * 70_000,
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("format_", ["text", "markdown"])
def test_h1_hostile_texts_take_bounded_time_and_memory(name: str, format_: str):
    text = HOSTILE[name]
    started = time.thread_time()
    with memory_peaks() as peaks:
        chunks = chunk(Extracted(text, format=format_))
    assert time.thread_time() - started < 4
    assert peaks.growth < 200
    assert len(chunks) < len(text) / 10
    assert all(each.text == text[each.start : each.end] for each in chunks)


@pytest.mark.real_time
async def test_h1_the_loop_runs_while_a_thread_makes_chunks():
    extracted = Extracted(guide(300), format="markdown")
    task = asyncio.create_task(asyncio.to_thread(chunk, extracted))
    turns = 0
    while not task.done():
        await asyncio.sleep(0.001)
        turns += 1
    assert len(await task) > 300
    assert turns > 5


@pytest.mark.parametrize(
    "wrong",
    [{"size": 49}, {"size": 20_001}, {"overlap": 501}, {"overlap": -1}, {"smallest_section": 1_001}],
)
def test_h1_settings_that_do_not_fit_are_refused(wrong: dict[str, int]):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ChunkSettings(**wrong)


def test_h1_the_version_follows_every_setting():
    changes = [{}, {"size": 900}, {"overlap": 50}, {"smallest_section": 0}]
    assert len({ChunkSettings(**each).version for each in changes}) == len(changes)
