"""PDF files made by hand, right and hostile ones."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence

CATALOG, PAGES, FONT = b"<</Type/Catalog/Pages 2 0 R>>", 2, 3


def pdf_file(objects: Mapping[int, bytes], trailer: bytes = b"") -> bytes:
    """`objects` by their numbers, the catalogue at 1; with a table of their places."""
    data = b"%PDF-1.7\n"
    places = {}
    for number, value in objects.items():
        places[number] = len(data)
        data += b"%d 0 obj\n%b\nendobj\n" % (number, value)
    count = max(objects) + 1
    table = b"".join(
        b"%010d 00000 n \n" % places[number] if number in places else b"0000000000 65535 f \n"
        for number in range(count)
    )
    start = len(data)
    return data + b"xref\n0 %d\n%btrailer\n<</Size %d/Root 1 0 R%b>>\nstartxref\n%d\n%%%%EOF\n" % (
        count,
        table,
        count,
        trailer,
        start,
    )


def stream(data: bytes, entries: bytes = b"", length: bytes | None = None) -> bytes:
    return b"<</Length %b%b>>stream\n%b\nendstream" % (length or b"%d" % len(data), entries, data)


def deflated(data: bytes, times: int = 1, level: int = 9) -> bytes:
    """A stream of `data` repeated so often, without ever holding all of it."""
    compressor = zlib.compressobj(level)
    packed = b"".join(compressor.compress(data) for _ in range(times)) + compressor.flush()
    return stream(packed, b"/Filter/FlateDecode")


def text_stream(text: str) -> bytes:
    """The lines of a page, in Helvetica."""
    shown = b"".join(b"(%b) Tj T* " % _escaped(line) for line in text.split("\n"))
    return stream(b"BT /F1 12 Tf 14 TL 72 720 Td " + shown + b"ET")


def _escaped(line: str) -> bytes:
    data = line.encode("cp1252")
    return data.replace(b"\\", b"\\\\").replace(b"(", b"\\(").replace(b")", b"\\)")


def pages_of(contents: Sequence[bytes], resources: bytes = b"/Font<</F1 3 0 R>>") -> dict[int, bytes]:
    """The objects of a file with one page for each content stream."""
    font = b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>"
    objects = {1: CATALOG, FONT: font}
    kids = []
    for index, content in enumerate(contents):
        page, body = 10 + 2 * index, 11 + 2 * index
        kids.append(b"%d 0 R" % page)
        objects[page] = (
            b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Resources<<%b>>/Contents %d 0 R>>"
            % (resources, body)
        )
        objects[body] = content
    objects[PAGES] = b"<</Type/Pages/Count %d/Kids[%b]>>" % (len(contents), b" ".join(kids))
    return objects


def pdf_of(*pages: str, title: str = "") -> bytes:
    """A right file with these texts on its pages."""
    objects = pages_of([text_stream(page) for page in pages])
    if not title:
        return pdf_file(objects)
    objects[4] = b"<</Title(%b)>>" % _escaped(title)
    return pdf_file(objects, b"/Info 4 0 R")


def _with(changed: Mapping[int, bytes]) -> bytes:
    return pdf_file({**pages_of([text_stream("seen")]), **changed})


def _page(contents: bytes, resources: bytes = b"/Font<</F1 3 0 R>>") -> bytes:
    return b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]/Resources<<%b>>/Contents %b>>" % (
        resources,
        contents,
    )


def loops() -> dict[str, bytes]:
    """Files in which something refers to itself."""
    plain = pdf_of("seen")
    start = plain.index(b"xref\n")
    form = b"/Type/XObject/Subtype/Form/BBox[0 0 9 9]/Resources<</XObject<</X 12 0 R>>>>"
    return {
        "kids": _with({2: b"<</Type/Pages/Count 1/Kids[2 0 R]>>"}),
        "kids_of_each_other": _with(
            {
                2: b"<</Type/Pages/Count 9/Kids[5 0 R 5 0 R]>>",
                5: b"<</Type/Pages/Count 9/Kids[2 0 R 2 0 R]>>",
            }
        ),
        "parent": _with({10: _page(b"11 0 R").replace(b"/Parent 2", b"/Parent 10")}),
        "catalog": _with({1: b"1 0 R"}),
        "pages": _with({2: b"2 0 R"}),
        "length": _with({11: stream(b"BT ET", length=b"11 0 R")}),
        "contents": _with({10: _page(b"10 0 R")}),
        "contents_list": _with({10: _page(b"13 0 R"), 13: b"[13 0 R 13 0 R 11 0 R]"}),
        "form": _with(
            {
                10: _page(b"11 0 R", b"/XObject<</X 12 0 R>>"),
                11: stream(b"/X Do"),
                12: stream(b"/X Do /X Do /X Do", form),
            }
        ),
        "previous_table": plain.replace(b"/Root 1 0 R", b"/Root 1 0 R/Prev %d" % start),
        "outline": _with(
            {
                1: CATALOG.replace(b">>", b"/Outlines 5 0 R>>"),
                5: b"<</First 6 0 R/Last 6 0 R>>",
                6: b"<</Title(a)/Dest[10 0 R/Fit]/Next 6 0 R/First 6 0 R/Last 6 0 R/Parent 6 0 R>>",
            }
        ),
        "object_stream": _with({10: stream(b"10 0 ", b"/Type/ObjStm/N 1/First 5/Extends 10 0 R")}),
        "filters": _with({11: stream(b"x", b"/Filter 11 0 R")}),
    }
