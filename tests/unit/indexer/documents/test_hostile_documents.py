"""H1: documents that attack whatever reads them are refused or read, in bounded time and memory, and nothing ends."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from services.indexer.documents.document import DocumentLimits, DocumentRefused, Extracted, Source
from services.indexer.documents.extractor import DocumentExtractor
from tests.harness.indexer.pdf_files import deflated, loops, pages_of, pdf_file, pdf_of, stream, text_stream
from tests.harness.indexer.watching import loop_watch, memory_peaks

pytestmark = pytest.mark.real_time

LIMITS = DocumentLimits(time_s=20.0, characters=2_000_000)
PARENT_GROWTH_MB = 150
"""Above the documents, which these tests make in this process."""


@pytest_asyncio.fixture
async def short() -> AsyncIterator[DocumentExtractor]:
    made = DocumentExtractor(LIMITS, processes=1)
    yield made
    await made.close()


async def outcome(extractor: DocumentExtractor, source: Source) -> Extracted | str:
    """The text, or the kind of the refusal. Afterwards a good document must be read as ever."""
    try:
        found: Extracted | str = await extractor.extract(source)
    except DocumentRefused as refused:
        found = refused.kind
    good = await extractor.extract(Source(pdf_of("still alive")))
    assert good.text == "still alive"
    return found


async def bounded(extractor: DocumentExtractor, source: Source) -> Extracted | str:
    """The same, and what it may cost."""
    started = time.monotonic()
    with memory_peaks() as peaks:
        async with loop_watch() as loop:
            found = await outcome(extractor, source)
    assert time.monotonic() - started < 2 * LIMITS.time_s
    assert loop.blocked_s < 0.05
    assert 0 < peaks.child < LIMITS.memory_bytes / 2**20
    assert peaks.growth < PARENT_GROWTH_MB
    if isinstance(found, Extracted):
        assert len(found.text) <= LIMITS.characters
    return found


async def test_h1_a_gigabyte_is_refused_unread(short: DocumentExtractor):
    with memory_peaks() as peaks:
        assert await outcome(short, Source(bytes(2**30), "application/pdf", "large.pdf")) == "too_large"
    assert peaks.growth < PARENT_GROWTH_MB


async def test_h1_a_stream_that_claims_a_gigabyte_is_refused(short: DocumentExtractor):
    claims = pages_of([stream(b"BT ET", length=b"1073741824")])
    assert await bounded(short, Source(pdf_file(claims))) in {"broken", "too_large", "no_text"}


async def test_h1_a_stream_that_inflates_to_320_mb_is_refused(short: DocumentExtractor):
    bomb = pdf_file(pages_of([deflated(b" " * 2**20, times=320, level=1)]))
    assert len(bomb) < 2 * 2**20
    assert await bounded(short, Source(bomb)) == "too_large"


async def test_h1_a_stream_that_is_deflated_twice_is_refused(short: DocumentExtractor):
    inner = deflated(b" " * 2**20, times=320, level=1)
    packed = inner[inner.index(b"stream\n") + 7 : inner.rindex(b"\nendstream")]
    outer = deflated(packed).replace(b"/FlateDecode", b"[/FlateDecode/FlateDecode]", 1)
    data = pdf_file(pages_of([outer]))
    assert len(data) < 100_000
    assert await bounded(short, Source(data)) == "too_large"


async def test_h1_a_large_stream_on_every_page_ends_by_the_time_limit():
    objects = pages_of([b"null"] * 500)
    objects[5] = deflated(b"BT ET\n" * 100_000, times=10, level=1)
    for number in range(10, 1_010, 2):
        objects[number] = objects[number].replace(b"/Contents %d 0 R" % (number + 1), b"/Contents 5 0 R")
    extractor = DocumentExtractor(DocumentLimits(time_s=1.0), processes=1)
    with pytest.raises(DocumentRefused) as refused:
        await extractor.extract(Source(pdf_file(objects)))
    assert refused.value.kind == "too_slow"
    await extractor.close()


async def test_h1_text_without_end_is_refused(short: DocumentExtractor):
    shown = b"BT /F1 12 Tf " + b"(%b) Tj T* " % (b"words " * 1_000) * 350 + b"ET"
    assert await bounded(short, Source(pdf_file(pages_of([stream(shown)])))) in {"too_large", "too_slow"}


async def test_h1_a_pdf_that_refers_to_itself_does_not_loop(short: DocumentExtractor):
    started = time.monotonic()
    found = {name: await outcome(short, Source(data)) for name, data in loops().items()}
    refusals = {name: each for name, each in found.items() if not isinstance(each, Extracted)}
    unexpected = {
        name: each for name, each in refusals.items() if each not in {"broken", "too_large", "no_text"}
    }
    assert not unexpected
    assert time.monotonic() - started < LIMITS.time_s, "all together"


@pytest.mark.parametrize("opening", [b"[", b"<</A"])
async def test_h1_a_pdf_nested_without_end_is_refused(short: DocumentExtractor, opening: bytes):
    objects = {**pages_of([text_stream("seen")]), 1: opening * 60_000}
    assert await bounded(short, Source(pdf_file(objects))) in {"broken", "too_large"}


@pytest.mark.parametrize(
    "page",
    [
        "<div>" * 1_000_000 + "words",
        "<b><i>" * 200_000 + "words",
        "<ul><li>" * 200_000,
        "<svg>" * 300_000,
        "<" * 1_000_000,
    ],
    ids=["div", "inline", "list", "svg", "angles"],
)
async def test_h1_html_with_a_million_tags_is_read_or_refused(short: DocumentExtractor, page: str):
    found = await bounded(short, Source(f"<html><body><h1>Title</h1>{page}"))
    assert isinstance(found, Extracted) or found in {"too_slow", "too_much_memory"}


async def test_h1_html_that_takes_all_memory_is_refused():
    extractor = DocumentExtractor(DocumentLimits(memory_bytes=300 * 2**20), processes=1)
    assert await outcome(extractor, Source("<html><body>" + "<a href=x>" * 300_000)) == "too_much_memory"
    await extractor.close()


async def test_h1_html_with_too_many_attributes_ends_by_the_time_limit():
    extractor = DocumentExtractor(DocumentLimits(time_s=1.0), processes=1)
    attributes = " ".join(f"a{number}=1" for number in range(300_000))
    with pytest.raises(DocumentRefused) as refused:
        await extractor.extract(Source(f"<html><body><div {attributes}>x"))
    assert refused.value.kind == "too_slow"
    await extractor.close()


async def test_h1_a_line_of_20_mb_is_refused_and_one_of_2_mb_read(short: DocumentExtractor):
    assert await bounded(short, Source(b"words " * 3_500_000, "text/plain")) == "too_large"
    found = await bounded(short, Source("слово " * 330_000, "text/plain"))
    assert isinstance(found, Extracted)
    assert found.text == "слово " * 330_000


async def test_h1_an_empty_document_is_refused(short: DocumentExtractor):
    """As the command refuses an empty file."""
    assert await outcome(short, Source(b"", "text/plain")) == "no_text"
    assert await outcome(short, Source("", "text/plain")) == "no_text"


async def test_h1_a_document_of_blanks_has_no_text(short: DocumentExtractor):
    found = await bounded(short, Source(b" \n" * 900_000))
    assert isinstance(found, Extracted)
    assert not found.text.strip()


async def test_h1_large_binary_data_is_refused(short: DocumentExtractor):
    assert await bounded(short, Source(b"\x81\xfe\x00" * 5_000_000, "text/plain")) == "binary"
    assert (
        await bounded(short, Source(b"text " * 20_000 + b"\x00\x01\x02" * 200_000, "text/plain")) == "binary"
    )
    assert await bounded(short, Source(b"\xff\xfe" + b"\x00\xd8" * 500_000)) == "binary"


@pytest.mark.parametrize(
    "piece", ['{"a":', "[", '{"a":1}\n', '[{"a":"\\u0000"},'], ids=["keys", "lists", "lines", "nul"]
)
async def test_h1_json_without_end_is_read_as_text_or_refused(short: DocumentExtractor, piece: str):
    found = await bounded(short, Source(piece * (1_900_000 // len(piece)), "application/json"))
    assert isinstance(found, Extracted)
