"""Parent-death signal: a child process must not outlive a parent that was killed with SIGKILL."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable

__all__ = ["die_with_parent", "end_with_parent"]

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>

# Looked up here, in the parent: between fork and exec nothing may be imported or allocated that another
# thread could hold a lock on. PyDLL keeps the GIL over the call for the same reason.
_prctl = getattr(ctypes.PyDLL(None), "prctl", None) if sys.platform == "linux" else None


def die_with_parent() -> Callable[[], None] | None:
    """The `preexec_fn` that makes the kernel send SIGKILL to the child when its parent dies (prctl(2)).

    None where the kernel has no such signal: there, a parent killed with SIGKILL leaves its children running.

    The kernel watches the *thread* that forked, not the process. Start children from the main thread: a child started
    in a short-lived thread dies with that thread.
    """
    if _prctl is None:
        return None
    parent_pid = os.getpid()

    def ask_kernel() -> None:
        end_with_parent(parent_pid)

    return ask_kernel


def end_with_parent(parent_pid: int) -> None:
    """Called in the child: the same for the running process, whose parent has this id. Without an effect where the
    kernel has no such signal.
    """
    if _prctl is None:
        return
    _prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent_pid:  # the parent died before the call: the signal will never come
        os._exit(1)
