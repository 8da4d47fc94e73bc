"""Which processes run, asked while any of them may end."""

from __future__ import annotations

from contextlib import suppress

import psutil


def is_running(pid: int) -> bool:
    """Whether a process with this id exists that has not ended. False for a zombie."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def running_children(pid: int | None = None, *, recursive: bool = False) -> set[psutil.Process]:
    """The children of the process, or of this one without an id; none when it has ended."""
    with suppress(psutil.NoSuchProcess):
        children = psutil.Process(pid).children(recursive=recursive)
        return {child for child in children if is_running(child.pid)}
    return set()
