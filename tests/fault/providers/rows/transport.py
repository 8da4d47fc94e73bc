"""Transport of a response: framing, packets, compression, headers, and JSON instead of a stream."""

from __future__ import annotations

import gzip
import itertools
import json
import zlib

from tests.fault.providers.rows.stream_rows import BODY, JSON_OF_STREAM, PLAIN, accepted_bytes
from tests.fault.providers.rows.table import STREAMED, WHOLE, Both, Row
from tests.fault.providers.rows.wire import (
    SSE,
    Answer,
    chunked,
    http_head,
    sized,
    stream,
    until_closed,
)


def pieces(body: bytes, size: int) -> list[bytes]:
    return [body[begin : begin + size] for begin in range(0, len(body), size)]


def slowly(answer: Answer) -> Answer:
    """The parts in separate packets."""
    return tuple(itertools.chain.from_iterable((part, 0.001) for part in answer))


JSON_USAGE = {"input_tokens": 11, "output_tokens": 7}


TRANSPORT = (
    accepted_bytes("all in one chunk", chunked(BODY)),
    accepted_bytes("with Content-Length", sized(BODY, content_type=SSE)),
    accepted_bytes("ended by the connection", until_closed(BODY)),
    accepted_bytes("pieces of 3 bytes", chunked(*pieces(BODY, 3))),
    accepted_bytes(
        "packets of 17 bytes", slowly((http_head("200 OK", SSE, "Connection: close"), *pieces(BODY, 17)))
    ),
    accepted_bytes("no content type", sized(BODY, content_type="application/octet-stream")),
    accepted_bytes("json as the content type of a stream", sized(BODY, content_type="application/json")),
    accepted_bytes("gzip", chunked(gzip.compress(BODY), more=("Content-Encoding: gzip",))),
    accepted_bytes("deflate", sized(zlib.compress(BODY), "Content-Encoding: deflate", content_type=SSE)),
    accepted_bytes("identity", sized(BODY, "Content-Encoding: identity", content_type=SSE)),
    Row(
        name="gzip, whole",
        modes=WHOLE,
        script={"first": [sized(gzip.compress(JSON_OF_STREAM), "Content-Encoding: gzip")]},
    ),
    Row(
        name="gzip, an error",
        script={
            "first": [
                sized(
                    gzip.compress(b'{"error":{"message":"no such tool"}}'),
                    "Content-Encoding: gzip",
                    status="400 Bad Request",
                )
            ]
        },
        model="second",
        text="from second",
        calls={"first": 1, "second": 1},
    ),
    Row(
        name="headers of 48 KB",
        script={
            "first": [
                Both(
                    chunked(BODY, more=("X-Trace: " + "t" * 48_000,)),
                    sized(JSON_OF_STREAM, "X-Trace: " + "t" * 48_000),
                )
            ]
        },
    ),
    Row(
        name="60 cookies of 1 KB",
        script={
            "first": [
                Both(
                    chunked(BODY, more=tuple(f"Set-Cookie: c{n}={'v' * 1000}" for n in range(60))),
                    sized(JSON_OF_STREAM, *(f"Set-Cookie: c{n}={'v' * 1000}" for n in range(60))),
                )
            ]
        },
    ),
    accepted_bytes("100 Continue before the answer", (b"HTTP/1.1 100 Continue\r\n\r\n", *stream(*PLAIN))),
)


JSON_INSTEAD_OF_STREAM = (
    accepted_bytes("one JSON body", sized(JSON_OF_STREAM), usage=JSON_USAGE, estimated=False),
    accepted_bytes(
        "one JSON body, chunked", chunked(JSON_OF_STREAM, content_type="application/json"), usage=JSON_USAGE
    ),
    accepted_bytes(
        "one JSON body over lines", sized(json.dumps(json.loads(JSON_OF_STREAM), indent=2).encode())
    ),
    accepted_bytes("one JSON body under the type of a stream", sized(JSON_OF_STREAM, content_type=SSE)),
    Row(
        name="an error object",
        modes=STREAMED,
        script={"first": [sized(b'{"error":{"message":"Upstream gave up","code":502}}')]},
        model="second",
        text="from second",
        calls={"first": (1, 2), "second": 1},
    ),
    Row(
        name="half a JSON body",
        modes=STREAMED,
        script={"first": [sized(JSON_OF_STREAM[:60])]},
        model="second",
        text="from second",
        calls={"first": (1, 2), "second": 1},
    ),
)
