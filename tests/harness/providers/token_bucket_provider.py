"""A provider with a token bucket as its limit, which only its 429s reveal, as a separate process.

`python -m tests.harness.providers.token_bucket_provider PER_MINUTE CAPACITY` prints its address; `GET /counts`
returns counts.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock
from urllib.request import urlopen

from msgspec import Struct

from penstock.runtime.processes.pdeathsig import die_with_parent
from tests.harness.providers.scripted_provider import DONE, chunk, head, whole

__all__ = ["TokenBucketProvider", "token_bucket_provider"]

_JSON = "application/json"


class TokenBucketProvider:
    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self.process, self.url = process, url

    def counts(self) -> Counts:
        with urlopen(f"{self.url.removesuffix('/v1')}/counts") as answer:  # noqa: S310 - our own address
            return Counts(**json.load(answer))


class Counts(Struct, frozen=True):
    answered: int
    refused: int
    lasted_s: float
    """Seconds from the first call to the last one that was answered."""


@contextmanager
def token_bucket_provider(per_minute: float, capacity: float) -> Iterator[TokenBucketProvider]:
    command = [
        sys.executable,
        "-m",
        "tests.harness.providers.token_bucket_provider",
        str(per_minute),
        str(capacity),
    ]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=die_with_parent(),  # noqa: PLW1509 - allocates nothing, see there
    )
    try:
        assert process.stdout is not None
        yield TokenBucketProvider(process, process.stdout.readline().strip())
    finally:
        process.terminate()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


class _Bucket:
    def __init__(self, per_minute: float, capacity: float) -> None:
        self.per_s, self.capacity = per_minute / 60, capacity
        self.tokens, self.at_s = capacity, time.monotonic()
        self.answered = self.refused = 0
        self.began_s = self.ended_s = 0.0
        self.lock = Lock()

    def take(self) -> float:
        """0 if a token was taken, else the seconds until there is one."""
        with self.lock:
            now_s = time.monotonic()
            self.began_s = self.began_s or now_s
            self.tokens = min(self.capacity, self.tokens + (now_s - self.at_s) * self.per_s)
            self.at_s = now_s
            if self.tokens >= 1:
                self.tokens -= 1
                self.answered += 1
                self.ended_s = now_s
                return 0.0
            self.refused += 1
            return (1 - self.tokens) / self.per_s


class _Handler(BaseHTTPRequestHandler):
    bucket: _Bucket

    def do_GET(self) -> None:
        bucket = self.bucket
        found: object = {"data": [{"id": "limited"}]}
        if self.path == "/counts":
            found = Counts(bucket.answered, bucket.refused, bucket.ended_s - bucket.began_s)
        self._send(head("200 OK", _JSON), json.dumps(found, default=_plain).encode())

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        wait_s = self.bucket.take()
        if wait_s:
            error = {"error": {"message": "Rate limit reached", "type": "requests"}}
            self._send(
                head("429 Too Many Requests", _JSON, f"Retry-After: {wait_s:.3f}"), json.dumps(error).encode()
            )
        elif body.get("stream"):
            self._send(head(), chunk("An "), chunk("answer."), chunk(None, "stop"), DONE)
        else:
            self._send(head("200 OK", _JSON), whole("An answer."))

    def log_message(self, *parts: object) -> None:
        """No log."""

    def _send(self, *parts: bytes) -> None:
        self.close_connection = True
        self.wfile.write(b"".join(parts))


def _plain(counts: object) -> object:
    assert isinstance(counts, Counts)
    return {field: getattr(counts, field) for field in counts.__struct_fields__}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256


if __name__ == "__main__":
    _Handler.bucket = _Bucket(*(float(argument) for argument in sys.argv[1:3]))
    server = _Server(("127.0.0.1", 0), _Handler)
    print(f"http://127.0.0.1:{server.server_port}/v1", flush=True)
    server.serve_forever(poll_interval=0.05)
