"""Run a service whose function calls can be counted: `python -m tests.bench.profile.counted MODULE ARGUMENTS`.

SIGUSR2 begins a count, the next one ends it and writes a file that `pstats` reads, with the process id as its name,
into the folder PENSTOCK_BENCH_CALLS. Otherwise nothing slows the service.
"""

from __future__ import annotations

import cProfile
import os
import runpy
import signal
import sys
from pathlib import Path

__all__ = ["CALLS_FOLDER"]

CALLS_FOLDER = "PENSTOCK_BENCH_CALLS"


def _count_on_signal(folder: Path) -> None:
    profile = cProfile.Profile()
    counting = False

    def switch(*_: object) -> None:
        nonlocal counting
        counting = not counting
        if counting:
            profile.clear()
            profile.enable()
            return
        profile.disable()
        partial = folder / f"{os.getpid()}.partial"
        profile.dump_stats(partial)
        partial.rename(folder / str(os.getpid()))

    signal.signal(signal.SIGUSR2, switch)


def main() -> None:
    _count_on_signal(Path(os.environ[CALLS_FOLDER]))
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
