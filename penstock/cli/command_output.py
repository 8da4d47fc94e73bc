"""stdout and stderr of a command, also where their reader has closed them or their disk is full."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TextIO

from penstock.cli.render.terminal_safe import visible

__all__ = ["code_after_output"]

_OUTPUT_CLOSED: Final = 141
"""Exit code when the reader of the output has closed it: 128 plus the number of SIGPIPE, as shells report it."""


def code_after_output(command: Callable[[], int]) -> int:
    """The exit code of `command`, once all that it printed is written; 1 after an OSError, which is printed.

    Where the reader of stdout or stderr has closed it (`penstock status | head -1`), 141 and not a word.
    """
    for stream in (sys.stdout, sys.stderr):
        _replace_unencodable(stream)
    try:
        try:
            return command()
        finally:
            sys.stdout.flush()  # at exit an error would print a traceback
    except OSError as error:
        if isinstance(error, BrokenPipeError) and _discard_unread():
            return _OUTPUT_CLOSED
        # A full disk or a file without permission needs no traceback.
        with suppress(OSError):
            print(f"penstock: {visible(str(error), lines=True)}", file=sys.stderr)
        try:
            sys.stdout.flush()
        except OSError:
            _discard(sys.stdout)
        return 1


def _replace_unencodable(stream: TextIO) -> None:
    """Print `?` for a letter that the terminal's encoding lacks, instead of failing in the middle of an answer."""
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="replace")


def _discard_unread() -> bool:
    """Discard what is buffered for stdout and stderr where their reader has closed them; whether one has."""
    unread = [stream for stream in (sys.stdout, sys.stderr) if _is_unread(stream)]
    for stream in unread:
        _discard(stream)
    return bool(unread)


def _is_unread(stream: TextIO) -> bool:
    poll = select.poll()
    poll.register(stream.fileno(), 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def _discard(stream: TextIO) -> None:
    """Buffered output must not fail again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
