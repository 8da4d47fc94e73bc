"""D7: a message with any bytes in its subject or header block is delivered, and so is the next one."""

from __future__ import annotations

import asyncio
import gc
import inspect
import json
import subprocess
import sys
from typing import Any, Final
from urllib.parse import urlparse
from weakref import ref

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nats.aio.client import Client as Nats
from nats.aio.client import Srv
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import ProtocolError
from nats.errors import TimeoutError as NatsTimeoutError
from nats.protocol.parser import Parser

from penstock.bus.nats_patches import _CONTEXT, TlsNotOffered, discard_pending, install

install()

Message = tuple[int, bytes, bytes, bytes, bytes | None]


class Connection:
    """The connection to which a parser delivers messages."""

    def __init__(self, error: Exception | None = None) -> None:
        self.received: list[Message] = []
        self._subs: dict[int, Subscription] = {}
        self._error = error

    async def _process_msg(self, *message: Any) -> None:
        if self._error is not None:
            raise self._error
        self.received.append(message)


SUBJECTS = st.binary(min_size=1, max_size=40).filter(lambda subject: not set(subject) & set(b" \t\r\n"))


@given(subject=SUBJECTS, block=st.none() | st.binary(min_size=1, max_size=20), data=st.binary(max_size=20))
async def test_d7_any_subject_is_read_and_so_is_the_next_message(
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
    assert connection.received == [
        (7, subject, b"$JS.ACK.x", data, block),
        (8, b"next", b"", b"hi", None),
    ]
    assert isinstance(Nats()._build_message(7, subject, b"", data, None).subject, str)


def test_d7_a_byte_that_is_not_utf8_is_escaped():
    message = Nats()._build_message(1, b"llm.request.d\xff.chat", b"\xfe", b"", None)
    assert (message.subject, message.reply) == (r"llm.request.d\xff.chat", r"\xfe")
    assert Nats()._build_message(1, "ü".encode(), b"", b"", None).subject == "ü"


@given(block=st.binary(max_size=60).map(lambda rest: b"NATS/1.0" + rest) | st.binary(min_size=1, max_size=60))
async def test_d7_any_header_block_is_read_or_counts_as_none(block: bytes):
    written = await Nats()._process_headers(block)
    assert written is None or all(isinstance(value, str) for value in written.values())


async def test_d9_any_other_read_error_ends_the_connection():
    with pytest.raises(ProtocolError) as caught:
        await Parser(Connection(KeyError("surprise"))).parse(b"MSG x 1 0\r\n\r\n")
    assert isinstance(caught.value.__cause__, KeyError)
    with pytest.raises(ConnectionResetError):
        await Parser(Connection(ConnectionResetError())).parse(b"MSG x 1 0\r\n\r\n")


class Requests(Nats):
    """A connection that is never made; `reply` answers the one request that waits."""

    def __init__(self) -> None:
        super().__init__()
        self._resp_sub_prefix = bytearray(b"inbox.")
        self.published: list[str] = []

    async def publish(self, subject: str, *_: Any, **_options: Any) -> None:
        self.published.append(subject)

    def reply(self, message: Msg) -> None:
        [waiting] = self._resp_map.values()
        waiting.set_result(message)


async def test_d8_a_cancellation_that_arrives_with_the_reply_is_not_lost():
    nc = Requests()
    task = asyncio.create_task(nc.request("llm.request", b"", timeout=5))
    await asyncio.sleep(0)
    nc.reply(Msg(nc))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert nc._resp_map == {}


async def test_d8_a_request_returns_its_reply_or_times_out():
    nc = Requests()
    message = Msg(nc)
    task = asyncio.create_task(nc.request("llm.request", b"", timeout=5))
    await asyncio.sleep(0)
    nc.reply(message)
    assert await task is message
    with pytest.raises(NatsTimeoutError):
        await nc.request("llm.request", b"", timeout=0.01)
    assert nc.published == ["llm.request", "llm.request"]
    assert nc._resp_map == {}


async def test_d9_a_late_pong_is_ignored_and_the_next_one_counts():
    nc = Nats()
    late, next_one = asyncio.Future(), asyncio.Future()
    late.cancel()
    nc._pongs, nc._pings_outstanding = [late, next_one], 2
    await nc._process_pong()
    assert (nc._pings_outstanding, next_one.done()) == (0, False)
    await nc._process_pong()
    assert next_one.result() is True


# One test per patch on nats-py as it is. When one fails, upstream has fixed the fault: delete the patch.


UNPATCHED: Final = """
import asyncio, contextlib, io, json, sys
import nats.aio.transport
from nats.aio.client import Client as Nats, Srv
from nats.protocol.parser import Parser
from urllib.parse import urlparse

class Connection:
    def __init__(self): self.received = []
    async def _process_msg(self, *message): self.received.append(message)

class Broken(Connection):
    async def _process_msg(self, *message): raise KeyError("surprise")

async def subject_with_a_form_feed():
    connection = Connection()
    await Parser(connection).parse(b"MSG a\\x0cb 7 2\\r\\nhi\\r\\n")
    return connection.received

async def junk_header():
    return await Nats()._process_headers(b"junk")

async def subject_not_utf8():
    return Nats()._build_message(1, b"d\\xff", b"", b"", None)

async def other_error():
    await Parser(Broken()).parse(b"MSG x 1 0\\r\\n\\r\\n")

async def clear_text():
    nc = Nats()
    nc.options = {"verbose": False, "pedantic": False, "name": None, "no_echo": None, "user": "u",
                  "password": "p", "token": None, "tls": object()}
    nc._auth_configured, nc._current_server = True, Srv(urlparse("tls://server:4222"))
    assert b'"pass": "p"' in nc._connect_command()
    return "sent in clear text"

async def expired_jwt():
    return await rejected("'User Authentication Expired'")

async def removed_user():
    return await rejected("'Authorization Violation'")

async def rejected(error):
    nc = Nats()
    nc.options, nc._status = {"allow_reconnect": True, "max_reconnect_attempts": -1}, Nats.CONNECTED
    async def no_callback(): pass
    nc._disconnected_cb, nc._closed_cb = no_callback, no_callback
    await nc._process_err(error)
    await asyncio.sleep(0.05)
    return "closed" if nc.is_closed else "open"

async def failed_handshake():
    async def reject(reader, writer):
        writer.write(b"INFO {}\\r\\n")
        await reader.readuntil(b"PING\\r\\n")
        writer.write(b"-ERR 'Authorization Violation'\\r\\n")
        writer.close()
    nc = Nats()
    async def on_error(error): pass
    server = await asyncio.start_server(reject, "127.0.0.1", 0)
    try:
        await nc.connect("nats://127.0.0.1:%d" % server.sockets[0].getsockname()[1],
                         allow_reconnect=False, error_cb=on_error)
    except Exception:
        return "open" if not nc._transport._io_writer.is_closing() else "closed"

async def nothing(*args, **options): pass

async def lost_cancellation_of_a_request():
    nc = Nats()
    nc._resp_sub_prefix, nc.publish = bytearray(b"inbox."), nothing
    task = asyncio.create_task(nc._request_new_style("subject", b"", 5))
    await asyncio.sleep(0)
    [reply] = nc._resp_map.values()
    reply.set_result("reply")
    task.cancel()
    return await task

async def lost_cancellation_of_a_flush():
    nc = Nats()
    nc._reading_task = nc._flusher_task = asyncio.Future()
    pongs = []
    async def send_ping(pong): pongs.append(pong)
    nc._send_ping = send_ping
    task = asyncio.create_task(nc.flush())
    await asyncio.sleep(0)
    pongs[0].set_result(True)
    task.cancel()
    await task
    return "flushed"

async def lost_cancellation_of_a_connect():
    async def accept_and_cancel(**options):
        task.cancel()
        return "reader", "writer"
    nats.aio.transport.asyncio.open_connection = accept_and_cancel
    transport = nats.aio.transport.TcpTransport()
    task = asyncio.create_task(transport.connect(urlparse("nats://server:4222"), 4096, 5))
    await task
    return transport._io_reader

async def ping_before_what_is_pending():
    class Transport:
        def write(self, data): print(data.decode().strip(), "written,", len(nc._pending), "pending")
    nc = Nats()
    nc._flush_queue, nc._transport, nc._pending = asyncio.Queue(), Transport(), [b"PUB a  0\\r\\n\\r\\n"]
    await nc._send_ping()
    return ""

async def late_pong():
    nc = Nats()
    nc._pongs = [asyncio.Future()]
    nc._pongs[0].cancel()
    await nc._process_pong()

def seen(fault):
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        try:
            print(asyncio.run(globals()[fault]()))
        except Exception as error:
            print(type(error).__name__)
    return printed.getvalue().strip()

print(json.dumps({fault: seen(fault) for fault in sys.argv[1:]}))
"""


FAULTS: Final = {
    "subject_with_a_form_feed": "ProtocolError",
    "junk_header": "IndexError",
    "subject_not_utf8": "UnicodeDecodeError",
    "other_error": "KeyError",
    "clear_text": "sent in clear text",
    "expired_jwt": "closed",
    "removed_user": "closed",
    "failed_handshake": "open",
    "ping_before_what_is_pending": "PING written, 1 pending",
    "late_pong": "InvalidStateError",
}
if sys.version_info < (3, 12):  # which fixed asyncio.wait_for
    FAULTS |= {
        "lost_cancellation_of_a_request": "reply",
        "lost_cancellation_of_a_flush": "flushed",
        "lost_cancellation_of_a_connect": "reader",
    }


@pytest.fixture(scope="module")
def unpatched() -> dict[str, str]:
    """By fault: what an interpreter without the patches printed, or the name of its error. One takes 0.4 s of CPU."""
    command = [sys.executable, "-c", UNPATCHED, *FAULTS]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)  # type: ignore[no-any-return]


@pytest.mark.parametrize("fault", FAULTS)
def test_nats_py_still_has_the_fault(unpatched: dict[str, str], fault: str):
    assert unpatched[fault] == FAULTS[fault]


async def test_k7_a_connection_has_one_context_and_others_with_options():
    nc = Nats()
    assert nc.jetstream() is nc.jetstream()
    assert nc.jetstream(timeout=1) is not nc.jetstream()
    assert Nats().jetstream() is not nc.jetstream()
    assert not hasattr(Nats(), _CONTEXT), "nats-py does not use this name"
    assert not hasattr(nc, "context")


async def test_d9_a_connection_that_nobody_uses_is_freed_with_its_context():
    nc = Nats()
    nc.jetstream()
    left = ref(nc)
    del nc
    gc.collect()
    assert left() is None


async def test_nats_py_still_has_the_private_parts_in_use():
    nc = Nats()
    nc._pending.append(b"PUB x 0\r\n\r\n")
    nc._pending_data_size = 11
    discard_pending(nc)
    assert nc.pending_data_size == 0
    assert not hasattr(nc, "discard_pending")
    assert inspect.iscoroutinefunction(Nats._send_unsubscribe)
    assert "_id" in vars(Subscription(nc, id=1))


@pytest.mark.parametrize("scheme", ["tls", "nats"])
def test_credentials_are_not_sent_in_clear_text_where_tls_is_configured(scheme: str):
    nc = Nats()
    nc.options = {"verbose": False, "pedantic": False, "name": None, "no_echo": None, "token": "t"}
    nc.options |= {"user": None, "password": None} | ({} if scheme == "tls" else {"tls": object()})
    nc._current_server = Srv(urlparse(f"{scheme}://server:4222"))
    with pytest.raises(TlsNotOffered):
        nc._connect_command()
    nc._server_info = {"tls_required": True}
    assert nc._connect_command().startswith(b"CONNECT ")
