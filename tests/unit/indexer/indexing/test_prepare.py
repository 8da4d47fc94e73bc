"""H1: what is stored of a document, before it has vectors."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from penstock.contract.retrieval.documents import Document
from services.indexer.chunking.settings import ChunkSettings
from services.indexer.documents.extractor import DocumentExtractor
from services.indexer.embedding.embedded_text import chunk_key
from services.indexer.indexing.prepare import Prepared, Preparer

SETTINGS = ChunkSettings(200, 0, smallest_section=40)
GUIDE = Document(id="guide.md", text="# Pumps\n\nThey move water.\n", source="https://example.com/guide")


def preparer(settings: ChunkSettings = SETTINGS) -> Preparer:
    return Preparer(DocumentExtractor(), settings, lambda: 1_700_000_000_000)


async def prepared(document: Document) -> Prepared:
    return await preparer().prepare(document, "digest")


async def test_h1_equal_chunks_have_different_ids_and_keep_them():
    text = "\n\n".join(["# Same\n\n" + "the same words " * 12] * 4)
    chunks = (await prepared(Document(id="a.md", text=text))).chunks
    assert len(chunks) == 4
    assert len({each.embedded for each in chunks}) == 1
    assert [each.chunk.id for each in chunks] == [chunk_key(chunks[0].embedded, at) for at in range(4)]
    assert [each.chunk.ordinal for each in chunks] == [0, 1, 2, 3]


async def test_h1_a_chunk_is_embedded_below_the_title_of_its_document():
    titled = await prepared(replace(GUIDE, title="Handbook"))
    assert titled.document.title == "Handbook"
    assert titled.chunks[0].embedded == "Handbook > Pumps\n" + titled.chunks[0].chunk.text
    assert titled.characters == len(titled.chunks[0].embedded)


async def test_h1_the_name_of_a_file_is_no_title():
    document = Document(id="notes/plan.txt", text="They move water.")
    moved = replace(document, id="old/plan-2.txt")
    first, second = await prepared(document), await prepared(moved)
    assert first.document.title == ""
    assert [each.embedded for each in first.chunks] == ["They move water."]
    assert [each.chunk.id for each in first.chunks] == [each.chunk.id for each in second.chunks]


async def test_h1_a_document_without_a_source_is_cited_by_its_id():
    assert (await prepared(GUIDE)).document.source == "https://example.com/guide"
    assert (await prepared(replace(GUIDE, source=""))).document.source == "guide.md"


@pytest.mark.parametrize(
    "changed",
    [
        {"text": "other"},
        {"text": None, "data": GUIDE.text.encode() if GUIDE.text else b""},
        {"title": "Handbook"},
        {"source": ""},
        {"name": "guide.txt"},
        {"media_type": "text/plain"},
        {"metadata": {"kind": "guide"}},
    ],
    ids="-".join,
)
def test_h1_the_digest_follows_everything_that_is_stored(changed: dict[str, object]):
    assert preparer().digest(GUIDE) == preparer().digest(replace(GUIDE))
    assert preparer().digest(replace(GUIDE, **changed)) != preparer().digest(GUIDE)


def test_h1_the_digest_follows_the_settings_and_not_the_order_of_the_metadata():
    assert preparer(ChunkSettings(300, 0, smallest_section=40)).digest(GUIDE) != preparer().digest(GUIDE)
    orders = [{"a": 1, "b": 2}, {"b": 2, "a": 1}]
    assert len({preparer().digest(replace(GUIDE, metadata=order)) for order in orders}) == 1
