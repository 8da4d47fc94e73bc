"""H1: text, title and pages of PDF files; the reasons why one is refused."""

from __future__ import annotations

import io

import pypdf
import pytest

from services.indexer.documents.document import DocumentLimits, DocumentRefused
from services.indexer.documents.pdf import read_pdf
from tests.harness.indexer.pdf_files import pages_of, pdf_file, pdf_of, stream, text_stream

LIMITS = DocumentLimits()


def encrypted(user_password: str) -> bytes:
    writer = pypdf.PdfWriter(clone_from=io.BytesIO(pdf_of("locked words")))
    writer.encrypt(user_password, "owner", algorithm="RC4-128")
    sink = io.BytesIO()
    writer.write(sink)
    return sink.getvalue()


def refused(data: bytes, limits: DocumentLimits = LIMITS) -> tuple[str, str]:
    with pytest.raises(DocumentRefused) as error:
        read_pdf(data, limits)
    return error.value.kind, error.value.reason


def test_h1_a_pdf_has_text_and_the_places_of_its_pages():
    found = read_pdf(pdf_of("First page\nsecond line", "", "Third (page)", title="A  paper"), LIMITS)
    assert found.title == "A paper"
    assert found.text == "First page\nsecond line\n\n\n\nThird (page)"
    assert [found.text[start:].split("\n")[0] for start in found.pages] == ["First page", "", "Third (page)"]


def test_h1_the_outline_of_a_pdf_gives_its_headings():
    writer = pypdf.PdfWriter(clone_from=io.BytesIO(pdf_of("Intro\nwords\nDetails\nmore", "Rest\nwords")))
    chapter = writer.add_outline_item(title="Intro", page_number=0)
    writer.add_outline_item(title="Details", page_number=0, parent=chapter)
    writer.add_outline_item(title="Not on the page", page_number=1)
    sink = io.BytesIO()
    writer.write(sink)
    found = read_pdf(sink.getvalue(), LIMITS)
    assert [(each.level, each.title, each.start) for each in found.headings] == [
        (1, "Intro", 0),
        (2, "Details", found.text.index("Details")),
        (1, "Not on the page", found.pages[1]),
    ]


def test_h1_words_divided_at_a_line_end_are_joined():
    assert (
        read_pdf(pdf_of("a divi-\nded word\nin Anglo-\nSaxon"), LIMITS).text
        == "a divided word\nin Anglo-\nSaxon"
    )


def test_h1_other_alphabets_are_read_by_their_map():
    mapping = b"1 beginbfchar <41> <041F> endbfchar 1 beginbfchar <42> <0438> endbfchar"
    objects = pages_of([text_stream("AB")])
    objects[3] = objects[3].replace(b"/Encoding/WinAnsiEncoding", b"/ToUnicode 5 0 R")
    objects[5] = stream(b"/CIDInit /ProcSet findresource begin begincmap " + mapping + b" endcmap end")
    assert read_pdf(pdf_file(objects), LIMITS).text == "Пи"


def test_h1_a_pdf_with_a_password_is_refused():
    assert refused(encrypted("secret")) == ("encrypted", "the PDF is encrypted and needs a password")


def test_h1_a_pdf_that_anybody_may_read_is_read():
    assert read_pdf(encrypted(""), LIMITS).text == "locked words"


def test_h1_a_pdf_of_images_is_refused():
    kind, reason = refused(pdf_file(pages_of([stream(b""), stream(b"")])))
    assert (kind, "no text on any of its 2 pages" in reason) == ("no_text", True)


def test_h1_pages_and_characters_are_limited():
    data = pdf_of(*["words"] * 6)
    assert len(read_pdf(data, DocumentLimits(pages=6)).pages) == 6
    assert refused(data, DocumentLimits(pages=5)) == ("too_large", "the PDF has 6 pages, more than 5")
    assert refused(data, DocumentLimits(characters=20))[0] == "too_large"


@pytest.mark.parametrize("cut", [10, 200, 600])
def test_h1_a_truncated_pdf_is_refused_as_broken(cut: int):
    assert refused(pdf_of("words")[:cut])[0] == "broken"


def test_h1_a_pdf_without_its_table_is_read_nevertheless():
    data = pdf_of("words")
    table, trailer = data.index(b"xref\n"), data.index(b"trailer\n")
    assert read_pdf(data[:table] + data[trailer:], LIMITS).text == "words"


def test_h1_a_broken_page_does_not_hide_the_others():
    objects = pages_of([text_stream("first"), text_stream("second")])
    objects[10] = objects[10].replace(b"/Contents 11 0 R", b"/Contents(words)")
    found = read_pdf(pdf_file(objects), LIMITS)
    assert found.text.strip() == "second"
    assert len(found.pages) == 2
