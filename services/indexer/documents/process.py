"""The reading process: reads one document after another within limits, until its input ends.

A document can make a parser run for ever, take all memory or crash; then this process ends, and not the indexer.
"""

from __future__ import annotations

import os
import re
import resource
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final

import msgspec
from msgspec.structs import replace

from penstock.runtime.processes.pdeathsig import end_with_parent
from services.indexer.documents.document import DocumentLimits, DocumentRefused, Source
from services.indexer.documents.messages import (
    EXIT_WITHOUT_MEMORY,
    LENGTH_BYTES,
    Answer,
    Refusal,
    Task,
    decode_task,
    framed,
    pieces,
)
from services.indexer.documents.reading import read

__all__: list[str] = []

_MOST_DOCUMENTS: Final = 1_000
_MOST_MEMORY_BYTES: Final = 300 * 1024 * 1024
"""A process that has ever been larger ends after its answer, because Python keeps freed memory."""


def _serve(source: BinaryIO, sink: BinaryIO, limits: DocumentLimits) -> None:
    for count in range(1, _MOST_DOCUMENTS + 1):
        head = source.read(LENGTH_BYTES)
        if len(head) < LENGTH_BYTES:
            return
        task = decode_task(source.read(int.from_bytes(head, "big")))
        _limit_processor_time(limits.time_s)
        answer, text = _answer(task, _document(source, task), limits)
        is_last = answer.is_last or count == _MOST_DOCUMENTS or _peak_memory_bytes() > _MOST_MEMORY_BYTES
        sink.write(framed(replace(answer, is_last=is_last)))
        sink.writelines(pieces(text))
        sink.flush()
        if is_last:
            return


def _document(source: BinaryIO, task: Task) -> Source:
    parts = []
    while length := int.from_bytes(source.read(LENGTH_BYTES), "big"):
        parts.append(source.read(length))
    data = b"".join(parts)
    return Source(data.decode("utf-8", "replace") if task.is_text else data, "", task.name, task.title)


def _answer(task: Task, source: Source, limits: DocumentLimits) -> tuple[Answer, str]:
    try:
        extracted = read(source, task.detected, limits)
    except DocumentRefused as refused:
        return Answer(refusal=Refusal(refused.kind, refused.reason)), ""
    except MemoryError:
        reason = f"reading it takes more than {limits.memory_bytes // 2**20:,} MB of memory"
        return Answer(refusal=Refusal("too_much_memory", reason), is_last=True), ""
    except Exception as error:  # noqa: BLE001 - it would be the same the next time
        return Answer(refusal=Refusal("broken", f"it cannot be read: {error!r:.200}")), ""
    return Answer(replace(extracted, text="")), extracted.text


def _limit_memory(limits: DocumentLimits) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(ValueError, OSError):  # systems without this limit, or with a lower one
        resource.setrlimit(resource.RLIMIT_AS, (limits.memory_bytes, limits.memory_bytes))


def _limit_processor_time(time_s: float) -> None:
    """Counted from now: the kernel ends the process by SIGXCPU after it."""
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    soft = int(time.process_time() + time_s) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (soft if hard < 0 else min(soft, hard), hard))


def _peak_memory_bytes() -> int:
    """0 where the system does not tell. Not from getrusage, which counts the parent's memory before the exec too."""
    with suppress(OSError):
        status = Path("/proc/self/status").read_bytes()
        found = re.search(rb"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
        return 0 if found is None else int(found[1]) * 1024
    return 0


def _main(parent_pid: str, limits: str) -> None:
    end_with_parent(int(parent_pid))
    chosen = msgspec.json.decode(limits, type=DocumentLimits)
    # Nothing that a library prints may get between the answers.
    sink = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    _limit_memory(chosen)
    try:
        _serve(sys.stdin.buffer, sink, chosen)
    except MemoryError:
        os._exit(EXIT_WITHOUT_MEMORY)


if __name__ == "__main__":
    _main(*sys.argv[1:])
