"""Lines to a stream that is closed, full or not read: never an error, never a wait."""

from __future__ import annotations

import fcntl
import os
import re
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import pytest

from penstock.runtime.telemetry.line_writer import LineWriter

_PIPE_BYTES = 4096


@pytest.fixture
def pipe() -> Iterator[tuple[int, TextIO]]:
    reader, write_end = os.pipe()
    fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    with os.fdopen(write_end, "w", encoding="utf-8") as stream:
        yield reader, stream


def writer_to(stream: TextIO, dropped: list[int], **options: int) -> LineWriter:
    return LineWriter(
        stream, dropped_text="{} dropped".format, on_dropped=lambda: dropped.append(1), **options
    )


def test_lines_arrive_in_order(pipe: tuple[int, TextIO]):
    reader, stream = pipe
    dropped: list[int] = []
    writer = writer_to(stream, dropped)
    for number in range(100):
        writer.write(f"line {number} ë")
    writer.flush(5)
    assert os.read(reader, _PIPE_BYTES).decode().splitlines() == [f"line {n} ë" for n in range(100)]
    assert not dropped


def test_a_reader_that_stops_reading_delays_nobody_and_learns_what_was_dropped(pipe: tuple[int, TextIO]):
    reader, stream = pipe
    dropped: list[int] = []
    writer = writer_to(stream, dropped, max_waiting_bytes=10_000)
    began_s = time.monotonic()
    for number in range(1000):
        writer.write(f"{number:99}")
    writer.flush(0.05)
    assert time.monotonic() - began_s < 1
    assert 99 < 1000 - len(dropped) < 145, "the waiting bytes, and what the pipe took"

    read = b""
    while b"last" not in read:
        read += os.read(reader, _PIPE_BYTES)
        writer.write("last")
    reported = re.findall(r"\n(\d+) dropped\n", read.decode())
    assert sum(int(number) for number in reported) == len(dropped)


def test_a_reader_that_has_ended_is_no_error(pipe: tuple[int, TextIO]):
    reader, stream = pipe
    os.close(reader)
    dropped: list[int] = []
    writer = writer_to(stream, dropped)
    for _ in range(3):
        writer.write("nobody reads this")
    writer.flush(5)
    assert len(dropped) == 3


def test_a_full_disk_is_no_error():
    dropped: list[int] = []
    with Path("/dev/full").open("w") as full:
        writer = writer_to(full, dropped)
        writer.write("no room")
        writer.flush(5)
    assert len(dropped) == 1


def test_lines_that_come_together_are_written_together(pipe: tuple[int, TextIO], monkeypatch):
    reader, stream = pipe
    sizes: list[int] = []

    def write(descriptor: int, data: bytes) -> int:
        sizes.append(len(data))
        return os_write(descriptor, data)

    os_write = os.write
    monkeypatch.setattr("penstock.runtime.telemetry.line_writer.os.write", write)
    writer = writer_to(stream, [])
    for number in range(200):
        writer.write(f"{number:99}")
    read = b""
    while not read.endswith(b"199\n"):
        read += os.read(reader, _PIPE_BYTES)
    assert [int(line) for line in read.splitlines()] == list(range(200))
    assert 5 <= len(sizes) < 20
    assert max(sizes) <= _PIPE_BYTES, "lines of another process do not come between"


def test_a_line_that_comes_alone_is_written_soon(pipe: tuple[int, TextIO]):
    reader, stream = pipe
    writer = writer_to(stream, [])
    for number in range(3):
        began_s = time.monotonic()
        writer.write(f"line {number}")
        assert os.read(reader, _PIPE_BYTES) == b"line %d\n" % number
        assert time.monotonic() - began_s < 1


def test_a_disk_that_becomes_full_costs_the_lines_that_were_not_written(tmp_path: Path):
    """The limit on the size of a file stands for the disk: line 5 is cut off."""
    dropped: list[int] = []
    path = tmp_path / "log"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with path.open("w") as file:
        writer = writer_to(file, dropped)
        resource.setrlimit(resource.RLIMIT_FSIZE, (38, hard))
        try:
            for number in range(10):
                writer.write(f"line {number}")
            writer.flush(5)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert len(dropped) == 5
        writer.write("last")
        writer.flush(5)
    lines = path.read_text().splitlines()
    assert lines == [*(f"line {number}" for number in range(5)), "lin", "5 dropped", "last"]


def test_a_pipe_that_another_process_made_non_blocking_is_waited_for(pipe: tuple[int, TextIO]):
    reader, stream = pipe
    os.set_blocking(stream.fileno(), False)
    dropped: list[int] = []
    writer = writer_to(stream, dropped)
    writer.write("x" * 3 * _PIPE_BYTES)
    read = b""
    while not read.endswith(b"\n"):
        read += os.read(reader, _PIPE_BYTES)
    assert len(read) == 3 * _PIPE_BYTES + 1
    assert not dropped
