"""H5: the process that maintains a table ends with an indexer that is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.harness.suite.waiting import until

_PARENT = """
import os, subprocess, sys, time
command = [sys.executable, "-m", "services.indexer.store.lancedb.maintenance_process", str(os.getpid())]
print(subprocess.Popen(command, stdout=subprocess.DEVNULL).pid, flush=True)
time.sleep(60)
"""


def is_running(pid: int) -> bool:
    """A process without a parent that waits for it may stay as a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_h5_a_maintenance_ends_with_its_parent_though_its_input_stays_open():
    source, sink = os.pipe()
    parent = subprocess.Popen(  # noqa: ASYNC220 - it returns at once
        [sys.executable, "-c", _PARENT], stdin=source, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert is_running(child)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    await until(lambda: not is_running(child))
    os.close(source)
    os.close(sink)
