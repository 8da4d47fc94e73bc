"""Documents to text, without blocking the event loop and without trusting the document.

Small texts are read at once. HTML and PDF, which parsers can be attacked with, and everything large are read in one of
a few child processes; they are started when needed, used again, and killed when a document takes too long.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from services.indexer.documents.child import COMMAND, ProcessEnded, ReadingProcess
from services.indexer.documents.detection import Detected, detect
from services.indexer.documents.document import DocumentLimits, DocumentRefused, Extracted, Source
from services.indexer.documents.reading import read

__all__ = ["DocumentExtractor"]

_SMALL: Final = 16 * 1024
"""Bytes or characters that are read in the event loop: under 10 ms for JSON, under 2 ms for most else."""
_IN_CHILD: Final = frozenset({"html", "pdf"})
_PROCESSES: Final = 2
_IDLE_S: Final = 60.0
"""A process with its libraries has 60 MB in memory, and is stopped after this time without a document."""
_DEFAULT_LIMITS: Final = DocumentLimits()


class DocumentExtractor:
    """At most `processes` documents are read at a time; the others wait."""

    def __init__(
        self,
        limits: DocumentLimits = _DEFAULT_LIMITS,
        processes: int = _PROCESSES,
        command: Sequence[str] = COMMAND,
        idle_s: float = _IDLE_S,
    ) -> None:
        self._limits = limits
        self._command = command
        self._idle_s = idle_s
        self._slots = asyncio.Semaphore(processes)
        self._free: list[ReadingProcess] = []
        self._killed: set[ReadingProcess] = set()
        """Of which the loop may still hold something."""
        self._idle: asyncio.TimerHandle | None = None

    async def extract(self, source: Source) -> Extracted:
        """Raises DocumentRefused if the document cannot be indexed, ExtractionUnavailable if this machine cannot."""
        if not source.data:
            raise DocumentRefused("no_text", "it is empty")
        if len(source.data) > self._limits.document_bytes:
            limit = self._limits.document_bytes
            raise DocumentRefused("too_large", f"it has {len(source.data):,} bytes, more than {limit:,}")
        detected = detect(source)
        if _is_harmless(source, detected):
            return read(source, detected, self._limits)
        async with self._slots:
            idle = self._taken()
            if idle is not None:
                # It may have ended while it was idle: asyncio learns of it later than the first write.
                with suppress(ProcessEnded):
                    return await self._read_in(idle, source, detected)
            started = await ReadingProcess.start(self._limits, self._command)
            return await self._read_in(started, source, detected)

    async def close(self) -> None:
        """Documents that are being read are given up."""
        self._kill_free()
        for process in tuple(self._killed):
            await process.wait()
        self._killed.clear()

    async def _read_in(self, process: ReadingProcess, source: Source, detected: Detected) -> Extracted:
        try:
            return await process.read(source, detected)
        finally:
            # A failed or cancelled exchange leaves half an answer, which would be taken for the next document's.
            if process.is_usable:
                self._free.append(process)
                self._stop_when_idle()
            else:
                self._kill(process)

    def _taken(self) -> ReadingProcess | None:
        while self._free:
            process = self._free.pop()
            if process.is_usable:
                return process
            self._kill(process)
        return None

    def _stop_when_idle(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        self._idle = asyncio.get_running_loop().call_later(self._idle_s, self._kill_free)

    def _kill_free(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        while self._free:
            self._kill(self._free.pop())

    def _kill(self, process: ReadingProcess) -> None:
        process.kill()
        self._killed = {each for each in self._killed if not each.has_ended} | {process}


def _is_harmless(source: Source, detected: Detected) -> bool:
    """Short, in a format without a parser that can be attacked, and in UTF-8: loading what guesses takes 50 ms."""
    if len(source.data) > _SMALL or detected.format in _IN_CHILD:
        return False
    return isinstance(source.data, str) or _is_utf_8(source.data)


def _is_utf_8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
