"""The progress of `penstock index`: a bar on a terminal, plain lines elsewhere; always on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TextIO

from penstock.cli.render.counting import counted

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

__all__ = ["LineProgress", "index_progress"]

_LINE_EVERY_S: Final = 5.0


class LineProgress:
    """A line every few seconds, for a file or a pipe."""

    def __init__(self, total: int, out: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._total = total
        self._out = out
        self._clock = clock
        self._shown_s = clock()
        self._documents = self._chunks = 0

    def advance(self, documents: int, chunks: int) -> None:
        self._documents += documents
        self._chunks += chunks
        now_s = self._clock()
        if now_s - self._shown_s >= _LINE_EVERY_S:
            self._shown_s = now_s
            done = f"{self._documents:,} of {counted(self._total, 'document')}"
            print(f"{done}, {counted(self._chunks, 'chunk')}", file=self._out, flush=True)


class _BarProgress:
    def __init__(self, bar: RichProgress, task: TaskID) -> None:
        self._bar = bar
        self._task = task
        self._chunks = 0

    def advance(self, documents: int, chunks: int) -> None:
        self._chunks += chunks
        self._bar.update(self._task, advance=documents, chunks=f"{self._chunks:,}")


@contextmanager
def index_progress(total: int) -> Iterator[LineProgress | _BarProgress]:
    """Progress over `total` documents, shown while the context is open."""
    if not sys.stderr.isatty():
        yield LineProgress(total, sys.stderr)
        return
    from rich.console import Console  # noqa: PLC0415 - loaded only for a terminal
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    columns = (
        TextColumn("indexing"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("documents, {task.fields[chunks]} chunks"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        yield _BarProgress(bar, bar.add_task("", total=total, chunks="0"))
