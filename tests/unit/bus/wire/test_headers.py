"""Header blocks are read and written as nats-py does; blocks of another form are left to it (D7)."""

from __future__ import annotations

from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nats.aio.client import Client as Nats
from nats.errors import BadHeaderError

from penstock.bus.nats_patches import _process_headers
from penstock.bus.wire.headers import decode_headers, encode_headers

PARTS: Final = st.sampled_from(
    [
        b"NATS/1.0",
        b"\r\n",
        b"\n",
        b"\r",
        b":",
        b": ",
        b" ",
        b"\t",
        b"\x0b",
        b"\x1f",
        b"\xa0",
        b"\xff",
        b"A",
        b"b-c",
        b"1",
    ]
)
BLOCKS: Final = st.lists(PARTS, max_size=14).map(b"".join)
BEGINNINGS: Final = st.sampled_from(
    [
        b"NATS/1.0\r\n",
        b"NATS/1.0 408 Request Timeout",
        b"NATS/1.0 503\r\n",
        b"NATS/1.0 404 a:b",
        b"NATS/1.0 4x4 c",
    ]
)
LINES: Final = st.tuples(
    st.binary(max_size=4), st.sampled_from([b": ", b":", b" "]), st.binary(max_size=4)
).map(b"".join)


async def of_nats_py(block: bytes) -> dict[str, str] | None:
    return await _process_headers(Nats(), block)


@given(BLOCKS | st.tuples(BEGINNINGS, BLOCKS).map(lambda parts: b"".join(parts) + b"\r\n\r\n"))
async def test_d7_a_block_is_read_as_nats_py_reads_it_or_left_to_it(block: bytes):
    read = decode_headers(block)
    assert read is None or read == await of_nats_py(block)


@given(st.lists(LINES, min_size=1, max_size=4))
async def test_d7_lines_of_any_bytes_are_read_as_nats_py_reads_them_or_left_to_it(lines: list[bytes]):
    for begin in (b"NATS/1.0\r\n", b"NATS/1.0 408 Request Timeout\r\n"):
        block = begin + b"\r\n".join(lines) + b"\r\n\r\n"
        read = decode_headers(block)
        assert read is None or read == await of_nats_py(block)


def test_an_ordinary_block_is_read():
    assert decode_headers(b"NATS/1.0\r\nNats-Msg-Id: a\r\nx: b: c  d\r\nx: e\r\n\r\n") == {
        "Nats-Msg-Id": "a",
        "x": "e",
    }


def test_a_status_is_read():
    timeout = b"NATS/1.0 408 Request Timeout\r\nNats-Pending-Messages: 1\r\n\r\n"
    status = {"Status": "408", "Description": "Request Timeout"}
    assert decode_headers(timeout) == status | {"Nats-Pending-Messages": "1"}
    assert decode_headers(b"NATS/1.0 408 Request Timeout\r\n\r\n") == status


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"junk",
        b"NATS/1.0\r\n\r\n",
        b"NATS/1.0 503\r\n\r\n",
        b"NATS/1.0 4x4 No Messages\r\n\r\n",
        b"NATS/1.0 404 No Messages\r\na\r\n\r\n",
        b"NATS/1.0\r\na: b\r\n",
        b"NATS/1.0\r\na: b\r\nc\r\n\r\n",
        b"NATS/1.0\r\na: b\n\r\n\r\n",
        b"NATS/1.0\r\na\nb: c\r\n\r\n",
        b"NATS/1.0\r\na: \xc3\xbc\r\n\r\n",
    ],
)
def test_d7_another_form_is_left_to_nats_py(block: bytes):
    assert decode_headers(block) is None


async def written_by_nats_py(headers: dict[str, str]) -> bytes:
    nc = Nats()
    await nc._send_publish("s", "", b"", 0, headers)
    return nc._pending[0].partition(b"\r\n")[2].removesuffix(b"\r\n")


@given(st.dictionaries(st.text("aZ-_.09 \t", max_size=5), st.text(max_size=8), max_size=4))
async def test_headers_are_written_as_nats_py_writes_them(headers: dict[str, str]):
    try:
        expected = await written_by_nats_py(headers)
    except (BadHeaderError, UnicodeEncodeError) as error:
        with pytest.raises(type(error)):
            encode_headers(headers)
    else:
        assert encode_headers(headers) == expected


def test_d7_a_value_cannot_end_its_line():
    assert encode_headers({"a": "b\r\nc: d", "e": "\nf\n"}) == b"NATS/1.0\r\na: b  c: d\r\ne: f\r\n\r\n"
    with pytest.raises(BadHeaderError):
        encode_headers({"a\r\nb": "c"})
