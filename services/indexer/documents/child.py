"""One reading process as the indexer sees it: a document goes in, its text or a refusal comes out."""

from __future__ import annotations

import asyncio
import codecs
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import msgspec
from msgspec.structs import replace

from penstock.bus.freezes import AwakeTimeout
from services.indexer.documents.detection import Detected
from services.indexer.documents.document import (
    DocumentLimits,
    DocumentRefused,
    Extracted,
    ExtractionUnavailable,
    Source,
)
from services.indexer.documents.messages import (
    EXIT_WITHOUT_MEMORY,
    LENGTH_BYTES,
    Answer,
    Task,
    decode_answer,
    framed,
    pieces,
)

__all__ = ["COMMAND", "ProcessEnded", "ReadingProcess"]

COMMAND: Final = (sys.executable, "-m", "services.indexer.documents.process")
_END_S: Final = 1.0
"""Until a process that has closed its output must have ended."""
_BUFFER_BYTES: Final = 512 * 1024
_MOST_HEADER_BYTES: Final = 1024 * 1024
_BYTES_PER_CHARACTER: Final = 4
"""At most, in UTF-8."""


class ProcessEnded(ExtractionUnavailable):
    """The process ended before it answered, for a reason that says nothing about the document."""


class ReadingProcess:
    """Reads one document at a time. After a failure, `is_usable` is false, and the process has to be killed."""

    def __init__(self, process: Process, limits: DocumentLimits) -> None:
        self._process = process
        self._limits = limits
        self._is_answered = True
        self._is_ending = False

    @classmethod
    async def start(cls, limits: DocumentLimits, command: Sequence[str] = COMMAND) -> ReadingProcess:
        """Raises ExtractionUnavailable. Call it in the main thread: the child ends with the thread that forked it."""
        arguments = (*command, str(os.getpid()), msgspec.json.encode(limits).decode())
        try:
            # In a session of its own: Ctrl-C stops the indexer, which still reads while it drains.
            process = await asyncio.create_subprocess_exec(
                *arguments,
                stdin=PIPE,
                stdout=PIPE,
                stderr=DEVNULL,
                limit=_BUFFER_BYTES,
                start_new_session=True,
            )
        except OSError as error:
            raise ExtractionUnavailable(f"a process to read documents cannot be started: {error}") from error
        return cls(process, limits)

    @property
    def is_usable(self) -> bool:
        return self._is_answered and not self._is_ending and self._process.returncode is None

    @property
    def has_ended(self) -> bool:
        return self._process.returncode is not None

    async def read(self, source: Source, detected: Detected) -> Extracted:
        """Raises DocumentRefused, ProcessEnded or another ExtractionUnavailable."""
        self._is_answered = False
        try:
            async with AwakeTimeout(self._limits.time_s):
                answer, text = await self._exchange(source, detected)
        except TimeoutError as error:
            raise self._too_slow() from error
        except (OSError, EOFError) as error:
            raise self._reason_of_end(await self._exit_code(), error) from error
        except (ValueError, msgspec.MsgspecError) as error:
            raise ExtractionUnavailable(
                f"the answer of a reading process cannot be read: {error!r}"
            ) from error
        self._is_answered = True
        self._is_ending = answer.is_last
        if answer.refusal is not None:
            raise DocumentRefused(answer.refusal.kind, answer.refusal.reason)
        if answer.extracted is None:
            raise ExtractionUnavailable("the process that reads documents gave an empty answer")
        return replace(answer.extracted, text=text)

    def kill(self) -> None:
        """It holds nothing that has to be finished."""
        assert self._process.stdin is not None  # noqa: S101 - it is a pipe
        self._process.stdin.close()
        if self._process.returncode is None:
            self._process.kill()

    async def wait(self) -> None:
        """Until it has ended, after `kill`."""
        await self._process.communicate()

    async def _exit_code(self) -> int | None:
        """None: it has only closed its output. Not killed first: asyncio may then miss the code."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_END_S):
                return await self._process.wait()
        return None

    async def _exchange(self, source: Source, detected: Detected) -> tuple[Answer, str]:
        stdin = self._process.stdin
        assert stdin is not None  # noqa: S101 - it is a pipe
        is_text = isinstance(source.data, str)
        stdin.write(framed(Task(detected, source.name, source.title, is_text)))
        for piece in pieces(source.data):
            stdin.write(piece)
            await stdin.drain()
        answer = decode_answer(await self._piece(_MOST_HEADER_BYTES))
        return answer, await self._text()

    async def _text(self) -> str:
        decode = codecs.getincrementaldecoder("utf-8")().decode
        parts: list[str] = []
        left = self._limits.characters * _BYTES_PER_CHARACTER
        while piece := await self._piece(left):
            left -= len(piece)
            parts.append(decode(piece))
        return "".join(parts)

    async def _piece(self, most: int) -> bytes:
        """Raises EOFError, and ValueError for one that is longer than `most`."""
        stdout = self._process.stdout
        assert stdout is not None  # noqa: S101 - it is a pipe
        length = int.from_bytes(await stdout.readexactly(LENGTH_BYTES), "big")
        if length > most:
            raise ValueError(f"a piece of {length} bytes where at most {most} may come")
        return await stdout.readexactly(length)

    def _too_slow(self) -> DocumentRefused:
        return DocumentRefused("too_slow", f"reading it takes more than {self._limits.time_s:g} seconds")

    def _reason_of_end(self, code: int | None, error: Exception) -> DocumentRefused | ProcessEnded:
        """What the end of the process says about the document."""
        if code == -signal.SIGXCPU:
            return self._too_slow()
        if code in {-signal.SIGABRT, EXIT_WITHOUT_MEMORY}:
            megabytes = self._limits.memory_bytes // 2**20
            return DocumentRefused(
                "too_much_memory", f"reading it takes more than {megabytes:,} MB of memory"
            )
        if code in {-signal.SIGSEGV, -signal.SIGBUS, -signal.SIGILL}:
            return DocumentRefused(
                "broken", f"it crashes the library that reads it ({signal.Signals(-code).name})"
            )
        return ProcessEnded(f"the process that reads documents ended (exit code {code}): {error!r}")
