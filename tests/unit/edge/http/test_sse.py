"""Server-sent events as bytes."""

from __future__ import annotations

import pytest

from services.edge.dialects.dialect import SseEvent
from services.edge.http.headers import header_text
from services.edge.http.sse import Position, comment, encode_event, event_id, parse_position


def test_an_event_has_an_id_and_data_and_sometimes_a_name():
    assert encode_event(SseEvent(b"{}"), event_id(3, 0xAB)) == b"id: 3-000000ab\ndata: {}\n\n"
    assert encode_event(SseEvent(b"{}", "stop"), b"") == b"id: \nevent: stop\ndata: {}\n\n"
    assert comment("queued") == b": queued\n\n"


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("3-000000ab", Position(3, 0xAB, "3-000000ab")),
        ("0", Position(0, None, "0")),
        ("12-ffffffff", Position(12, 0xFFFFFFFF, "12-ffffffff")),
        ("", None),
        ("-1", None),
        ("1-AB", None),
        ("1-0000000g", None),
        ("1 ", None),
        ("१", None),
        ("9" * 10, None),
    ],
)
def test_e2_an_event_id_is_read_back(text: str, position: Position | None):
    assert parse_position(text) == position


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("role named; 50% of it", b"role named; 50% of it"),
        ("слово", b"%D1%81%D0%BB%D0%BE%D0%B2%D0%BE"),
        ("a\r\nset-cookie: b\x00", b"a%0D%0Aset-cookie: b%00"),
        ("\ud800", b"?"),
    ],
)
def test_header_values_are_printable_ascii(text: str, value: bytes):
    assert header_text(text) == value
