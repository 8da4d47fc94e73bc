"""K2: the page of the HTTP interface needs no script and no other server."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

from services.edge.http.operation import Operation
from services.edge.openapi import operations
from services.edge.openapi.document import openapi_document
from services.edge.openapi.page import PAGE_HEADERS, html_page

OPERATIONS: list[Operation] = [getattr(operations, name) for name in operations.__all__]
PAGE = html_page(openapi_document(OPERATIONS, "1.2.3"))
UNCLOSED = {"meta", "br", "tr", "td"}


class Reader(HTMLParser):
    """Collects the elements, and checks that they are nested properly."""

    def __init__(self) -> None:
        super().__init__()
        self.attributes: list[tuple[str, str | None]] = []
        self.tags: set[str] = set()
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs
        if tag not in UNCLOSED:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag


def read() -> Reader:
    reader = Reader()
    reader.feed(PAGE)
    reader.close()
    return reader


def test_k2_the_page_has_no_script_and_loads_nothing():
    reader = read()
    assert not reader.tags & {"script", "link", "img", "iframe", "object", "form"}
    assert "://" not in PAGE
    assert {name for name, _ in reader.attributes} <= {"lang", "charset", "name", "content", "id", "href"}


def test_k2_every_link_leads_to_a_part_of_the_page_or_to_the_document():
    attributes = read().attributes
    ids = {value for name, value in attributes if name == "id"}
    targets = {value for name, value in attributes if name == "href"}
    assert targets - {f"#{each}" for each in ids} == {"/openapi.json"}


def test_k2_the_page_shows_every_operation():
    for operation in OPERATIONS:
        assert f'id="{operation.id}"' in PAGE
        assert operation.path.replace("...}", "}") in PAGE


def test_k5_the_policy_allows_the_style_of_the_page_and_nothing_else():
    policy = dict(PAGE_HEADERS)[b"content-security-policy"].decode()
    (style,) = re.findall(r"<style>(.*?)</style>", PAGE, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy.startswith("default-src 'none'")
    assert f"style-src 'sha256-{digest}'" in policy
    assert "unsafe" not in policy


def test_k5_the_text_of_the_document_cannot_become_markup():
    hostile = Operation(
        method="GET", path="/<b>", id='"><script>', group="<i>", summary="<script>alert(1)</script>"
    )
    page = html_page(openapi_document([hostile], "<u>"))
    assert not {"script", "i", "u"} & set(re.findall(r"<(\w+)", page))
