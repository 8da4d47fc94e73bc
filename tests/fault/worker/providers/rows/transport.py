"""Transport of a response: framing, packets, compression, headers, and JSON instead of a stream."""

from __future__ import annotations

import gzip
import itertools
import json
import zlib

from tests.fault.worker.providers.rows.stream_rows import BODY, JSON_OF_STREAM, PLAIN, accepted_bytes
from tests.fault.worker.providers.rows.table import STREAMED, WHOLE, Both, Row, all_models
from tests.fault.worker.providers.rows.wire import (
    SSE,
    Answer,
    chunked,
    http_head,
    sized,
    stream,
    until_closed,
)
from tests.harness.providers.scripted_provider import End


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


def _in_part(answer: Answer) -> Answer:
    """The answer with the header of a partial response (RFC 9110, 15.3.7)."""
    head, *body = answer
    assert isinstance(head, bytes)
    return (head[:-2] + b"Content-Range: bytes 90-900/901\r\n\r\n", *body)


_NO_CONTENT: Answer = (b"HTTP/1.1 204 No Content\r\n\r\n", End.KEEP)
_QUEUED = sized(b'{"id":"task-1","status":"queued"}', status="202 Accepted")


NOT_200 = (
    *(
        Row(
            name=f"a whole answer with status {status}",
            script={
                "first": [Both(chunked(BODY, status=status), sized(JSON_OF_STREAM, status=status))],
            },
        )
        for status in ("201 Created", "202 Accepted", "203 Non-Authoritative", "206 Partial Content")
    ),
    *(
        Row(
            name=name,
            script=all_models(Both(streamed, whole)),
            code="provider_unavailable",
            message_has=(f"HTTP {name[:3]}: ",),
            calls={"first": (1, 8), "second": (1, 8), "long": (1, 8)},
        )
        for name, streamed, whole in (
            ("204 without a body", _NO_CONTENT, _NO_CONTENT),
            ("201 with an empty body", sized(b"", status="201 Created"), sized(b"", status="201 Created")),
            ("202 for work that was only queued", _QUEUED, _QUEUED),
            (
                "206 with the beginning of an answer",
                chunked(BODY[:200], status="206 Partial Content"),
                sized(JSON_OF_STREAM[:60], status="206 Partial Content"),
            ),
            (
                "206 with a range that looks whole",
                _in_part(chunked(BODY, status="206 Partial Content")),
                _in_part(sized(JSON_OF_STREAM, status="206 Partial Content")),
            ),
        )
    ),
)
