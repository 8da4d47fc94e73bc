"""H1: the format of a document is found from its content, its declaration and its name, of which none is trusted."""

from __future__ import annotations

import pytest

from services.indexer.documents.detection import detect
from services.indexer.documents.document import DocumentRefused, Source

HTML = b"<!DOCTYPE html>\n<html><body><p>text</p></body></html>"
MARKDOWN = "# Title\n\nText with [a link](https://a.example).\n"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (Source("Plain words."), "text"),
        (Source(b""), "text"),
        (Source(b"words", "text/plain; charset=utf-8", "notes.txt"), "text"),
        (Source(b"# One\n\nwords", "text/plain", "notes.md"), "markdown"),
        (Source("words", "text/markdown"), "markdown"),
        (Source(MARKDOWN), "markdown"),
        (Source(HTML), "html"),
        (Source(b"\xef\xbb\xbf" + HTML), "html"),
        (Source(HTML.decode().encode("utf-16")), "html"),
        (Source(b"<?xml version='1.0'?><!-- x --><html lang=en>"), "html"),
        (Source(b"<p>a fragment</p>", "text/html; charset=utf-8"), "html"),
        (Source(b"<p>a fragment</p>", name="page.HTM"), "html"),
        (Source(b"<p>a fragment</p>", name="https://a.example/page.html?x=1#top"), "html"),
        (Source(b'{"a": 1}'), "json"),
        (Source(b'{"a": 1}', "application/geo+json"), "json"),
        (Source(b'{"a": 1}\n{"a": 2}', name="lines.jsonl"), "json_lines"),
        (Source(b"a,b\n1,2", "text/csv"), "csv"),
        (Source(b"a\tb\n1\t2", name="table.tsv"), "csv"),
        (Source(b"%PDF-1.7\n", "application/pdf"), "pdf"),
        (Source(b"bytes before\n%PDF-1.7\n", name="paper.pdf"), "pdf"),
    ],
)
def test_h1_the_format_is_detected(source: Source, expected: str):
    assert detect(source).format == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (Source(b"%PDF-1.4\n", "text/plain", "notes.txt"), "pdf"),
        (Source(b"%PDF-1.4\n", "text/html", "page.html"), "pdf"),
        (Source(HTML, "text/plain", "notes.txt"), "html"),
        (Source(HTML, "application/octet-stream"), "html"),
        (Source(HTML, "application/json"), "html"),
        (Source(HTML, name="table.csv"), "html"),
        (Source(b"Words without any tag.", "text/html"), "text"),
        (Source(b"Words.", "application/pdf", "paper.pdf"), "text"),
        (Source("%PDF-1.4 is how it begins", "application/pdf"), "text"),
        (Source(b"A PDF begins with %PDF-1.4", "text/plain"), "text"),
    ],
)
def test_h1_a_declaration_that_the_content_contradicts_is_ignored(source: Source, expected: str):
    assert detect(source).format == expected


@pytest.mark.parametrize(
    ("name", "media_type", "language"),
    [
        ("src/app.py", "", "python"),
        ("C:\\src\\App.TSX", "", "typescript"),
        ("main.go", "text/plain", "go"),
        ("", "text/x-python", "python"),
        ("Dockerfile", "", "dockerfile"),
        ("settings.yaml", "application/octet-stream", "yaml"),
    ],
)
def test_h1_the_language_of_source_code_is_known(name: str, media_type: str, language: str):
    detected = detect(Source(b"x = 1\n", media_type, name))
    assert (detected.format, detected.language) == ("code", language)


def test_h1_the_declared_charset_is_kept():
    assert detect(Source(b"x", 'text/html; charset="Windows-1251"', "a.html")).charset == "windows-1251"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"PK\x03\x04\x14\x00", "office document"),
        (b"\x89PNG\r\n\x1a\n\x00", "PNG image"),
        (b"\x7fELF\x02\x01\x01\x00", "program"),
        (b"GIF89a\x01\x00", "GIF image"),
        (b"{\\rtf1\\ansi words}", "RTF"),
        (b"\x00\x01\x02 anything", "binary data"),
        (b"text first " * 100 + b"\x00", "binary data"),
    ],
)
@pytest.mark.parametrize("declared", ["", "text/plain", "application/pdf"])
def test_h1_binary_data_is_refused_with_what_it_is(data: bytes, reason: str, declared: str):
    with pytest.raises(DocumentRefused, match=reason) as refused:
        detect(Source(data, declared, "notes.txt"))
    assert refused.value.kind == "binary"


@pytest.mark.parametrize("text", ["RIFF is a container.", "BZh? What is it?", "GIF89a is a version."])
def test_h1_words_that_look_like_signatures_are_text(text: str):
    assert detect(Source(text.encode())).format == "text"
