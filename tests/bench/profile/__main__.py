"""`make profile`: flame graphs of client, router and worker under load, and their function calls per request.

The flame graphs are samples of py-spy, which count a process as busy from a system call on until it runs again: with
fewer cores than processes, what follows a `send` looks too expensive. The calls are counted by cProfile, in the thread
of the event loop, less those of an equally long time without requests; they do not depend on the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable
from pathlib import Path
from typing import Any, Final

import uvloop

from tests.bench.load import Ask, run
from tests.bench.profile.calls import Calls, calls_of, calls_table, most_called
from tests.bench.profile.counted import CALLS_FOLDER
from tests.bench.sink import otlp_sink
from tests.bench.subjects import MODEL, penstock_whole
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.process import Process
from tests.harness.processes.system import System
from tests.harness.suite.waiting import until

AT_ONCE: Final = 16
REQUESTS: Final = 2_000
SECONDS: Final = 10
RATE: Final = 200
"""Samples a second."""
_MOST_CALLED: Final = 60


class _CountedSystem(System):
    """Router and workers run in `counted`."""

    def _process(self, module: str, *arguments: str, **env: str) -> Process:
        if module in {"services.router", "services.worker"}:
            return super()._process("tests.bench.profile.counted", module, *arguments, **env)
        return super()._process(module, *arguments, **env)


async def _flame_graphs(ask: Ask, pids: dict[str, int], out: Path) -> None:
    """Raises SystemExit where py-spy may not read the processes."""
    program = shutil.which("py-spy", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if program is None:
        raise SystemExit("py-spy is not installed: make setup")
    recording = asyncio.gather(*(_record(program, pid, out / f"{name}.svg") for name, pid in pids.items()))
    while not recording.done():
        await run(ask, at_once=AT_ONCE, total=10 * AT_ONCE)
    problems = [problem for problem in await recording if problem]
    if problems:
        hint = "on Linux py-spy needs root, or kernel.yama.ptrace_scope=0"
        raise SystemExit("\n".join([*problems, hint]))


async def _record(program: str, pid: int, svg: Path) -> str:
    """Returns what went wrong."""
    options = (
        "--duration",
        str(SECONDS),
        "--rate",
        str(RATE),
        "--format",
        "flamegraph",
        "--output",
        str(svg),
    )
    process = await asyncio.create_subprocess_exec(
        program,
        "record",
        "--pid",
        str(pid),
        *options,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await process.communicate()
    return errors.decode(errors="replace") if process.returncode else ""


async def _counted(ask: Ask, services: dict[str, int], folder: Path) -> dict[str, Calls]:
    """Of each process: counted in REQUESTS requests, and then for as long without requests."""
    began_s = time.perf_counter()
    loaded = await _count(run(ask, at_once=AT_ONCE, total=REQUESTS), services, folder / "loaded")
    seconds = time.perf_counter() - began_s
    idle = await _count(asyncio.sleep(seconds), services, folder / "idle")
    return {
        name: calls_of(file, idle[name], requests=REQUESTS, seconds=seconds) for name, file in loaded.items()
    }


async def _count(work: Awaitable[object], services: dict[str, int], folder: Path) -> dict[str, Path]:
    """A file of cProfile for each process, of the time until the work is done."""
    folder.mkdir()
    own = cProfile.Profile()
    _switch(services)
    own.enable()
    await work
    own.disable()
    _switch(services)
    own.dump_stats(folder / "client")
    for name, pid in services.items():
        written = folder.parent / str(pid)
        await until(written.exists)
        written.rename(folder / name)
    return {name: folder / name for name in ("client", *services)}


def _switch(services: dict[str, int]) -> None:
    for pid in services.values():
        os.kill(pid, signal.SIGUSR2)


async def _profile(out: Path) -> str:
    out.mkdir(parents=True, exist_ok=True)
    sink, address = await otlp_sink()
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        env = {
            "PENSTOCK_TRACES": "otlp",
            "OTEL_EXPORTER_OTLP_ENDPOINT": address,
            CALLS_FOLDER: str(scratch),
        }
        config = catalogue({"chat": [MODEL]}, roles={"chat": {"slots_per_worker": 256}})
        system = _CountedSystem(scratch, config=config, env=env, fresh=True)
        try:
            await system.start("chat")
            async with await system.client() as client:
                text = await _under_load(penstock_whole(client), system, scratch, out)
        finally:
            await system.stop()
    sink.close()
    return text


async def _under_load(ask: Ask, system: System, scratch: Path, out: Path) -> str:
    services = {"router": system.router.pid, "worker": system.workers[0].pid}
    await run(ask, at_once=AT_ONCE, total=500)
    calls = await _counted(ask, services, scratch)
    for name, each in calls.items():
        (out / f"{name}-calls.txt").write_text(most_called(each, _MOST_CALLED) + "\n")
    await _flame_graphs(ask, {"client": os.getpid(), **services}, out)
    return calls_table(calls)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.profile")
    parser.add_argument("out", type=Path, help="a folder for the flame graphs and the lists of calls")
    out: Path = parser.parse_args().out
    found: Any = uvloop.run(_profile(out))
    print(found)
    print(f"flame graphs (*.svg) and the functions called most (*-calls.txt): {out}")


if __name__ == "__main__":
    main()
