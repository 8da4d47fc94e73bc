"""D7: whatever bytes a publisher put into a subject or a header block, the message arrives and the next one too."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nats.aio.client import Client as Nats
from nats.errors import ProtocolError
from nats.protocol.parser import Parser

from penstock.bus.nats_patches import survive_hostile_bytes

survive_hostile_bytes()

Taken = tuple[int, bytes, bytes, bytes, bytes | None]


class Connection:
    """What a parser hands its messages to."""

    def __init__(self, error: Exception | None = None) -> None:
        self.taken: list[Taken] = []
        self._error = error

    async def _process_msg(self, *message: Any) -> None:
        if self._error is not None:
            raise self._error
        self.taken.append(message)


SUBJECTS = st.binary(min_size=1, max_size=40).filter(lambda subject: not set(subject) & set(b" \t\r\n"))


@given(subject=SUBJECTS, block=st.none() | st.binary(min_size=1, max_size=20), data=st.binary(max_size=20))
async def test_any_subject_the_server_delivers_is_read_and_what_follows_it_too(
    subject: bytes, block: bytes | None, data: bytes
):
    if block is None:
        wire = b"MSG %b 7 $JS.ACK.x %d\r\n%b\r\n" % (subject, len(data), data)
    else:
        sizes = (len(block), len(block) + len(data))
        wire = b"HMSG %b 7 $JS.ACK.x %d %d\r\n%b%b\r\n" % (subject, *sizes, block, data)
    connection = Connection()
    parser = Parser(connection)
    await parser.parse(wire + b"MSG next 8 2\r\nhi\r\n")
    assert connection.taken == [
        (7, subject, b"$JS.ACK.x", data, block),
        (8, b"next", b"", b"hi", None),
    ]
    assert isinstance(Nats()._build_message(7, subject, b"", data, None).subject, str)


def test_a_byte_that_is_no_utf8_is_written_out():
    message = Nats()._build_message(1, b"llm.request.d\xff.chat", b"\xfe", b"", None)
    assert (message.subject, message.reply) == (r"llm.request.d\xff.chat", r"\xfe")
    assert Nats()._build_message(1, "ü".encode(), b"", b"", None).subject == "ü"


@given(block=st.binary(max_size=60).map(lambda rest: b"NATS/1.0" + rest) | st.binary(min_size=1, max_size=60))
async def test_any_header_block_is_read_or_counts_as_none(block: bytes):
    written = await Nats()._process_headers(block)
    assert written is None or all(isinstance(value, str) for value in written.values())


async def test_an_error_of_any_other_kind_is_a_lost_connection_not_a_silent_one():
    with pytest.raises(ProtocolError) as caught:
        await Parser(Connection(KeyError("surprise"))).parse(b"MSG x 1 0\r\n\r\n")
    assert isinstance(caught.value.__cause__, KeyError)
    with pytest.raises(ConnectionResetError):
        await Parser(Connection(ConnectionResetError())).parse(b"MSG x 1 0\r\n\r\n")
