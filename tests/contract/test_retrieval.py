"""H1, H2: what requests and answers about embeddings and documents contain besides the messages themselves."""

from __future__ import annotations

import struct

import msgspec

from penstock.contract import codec
from penstock.contract.retrieval import subjects
from penstock.contract.retrieval.documents import (
    DOCUMENT_ID_CHARACTERS,
    MAX_DOCUMENTS,
    MEMORY,
    Document,
    IndexBody,
    IndexReport,
    RefusedDocument,
)
from penstock.contract.retrieval.embeddings import MAX_INPUTS, VECTOR_BLOCK_BYTES, EmbedResult, VectorBlock
from penstock.contract.streams import MAX_PAYLOAD_BYTES
from penstock.contract.subjects import is_token


def test_h1_an_index_body_is_read_as_it_was_written() -> None:
    document = Document(id="a.pdf", data=b"%PDF", metadata={"year": 2026, "tags": ["x"], "draft": False})
    body = IndexBody(documents=(document,), delete=("b.md",), model="m", dimensions=256)
    assert codec.INDEX_BODY.decode(msgspec.json.encode(body)) == body
    report = IndexReport(
        collection="c", indexed=1, refused=(RefusedDocument(id="a.pdf", reason="encrypted"),)
    )
    assert codec.INDEX_REPORT.decode(msgspec.json.encode(report)) == report


def test_h2_vectors_are_numbers_of_32_bits_and_a_block_fits_a_message() -> None:
    block = VectorBlock(first=3, vectors=struct.pack("<4f", 0.5, -1.0, 0.25, 0.0))
    assert codec.VECTOR_BLOCK.decode(msgspec.json.encode(block)) == block
    assert VECTOR_BLOCK_BYTES * 4 / 3 < MAX_PAYLOAD_BYTES * 0.75
    result = EmbedResult(
        texts=MAX_INPUTS, dimensions=512, space="m", tokens=9, embedded=1, from_cache=2, joined=3
    )
    assert codec.EMBED_RESULT.decode(msgspec.json.encode(result)) == result


def test_h1_the_subjects_of_an_account_are_its_own() -> None:
    made = [subjects.search("demo"), subjects.documents("demo"), subjects.collections("demo")]
    assert made == ["llm.index.search.demo", "llm.index.documents.demo", "llm.index.collections.demo"]
    assert subjects.embedding("ab" * 32) == f"llm.embedding.{'ab' * 32}"
    assert is_token(f"{MEMORY}{'a' * 32}")
    assert DOCUMENT_ID_CHARACTERS * MAX_DOCUMENTS < MAX_PAYLOAD_BYTES
