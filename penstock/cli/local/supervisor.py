"""Start services in stages, keep them running, stop them in reverse order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from penstock.cli.errors import LaunchError
from penstock.cli.local.child import Child, ServiceSpec
from penstock.cli.local.restarts import RestartLimits

__all__ = ["Supervisor"]

_REAP_TIMEOUT_S = 5.0
"""Longest wait after SIGKILL; only a process stuck in the kernel takes longer."""


class Supervisor:
    """The processes of one machine, each with its log in `log_dir/<name>.log`.

    `specs` is a list of stages: all children of a stage are ready before the next stage starts, and stages stop in
    reverse order. A child is ready when it prints the ready line, a JSON object with `"event": "ready"`. A child that
    dies is restarted, and `report` gets one line. `clock` gives monotonic seconds. Used once, from one event loop,
    in the main thread (see `pdeathsig`).
    """

    def __init__(
        self,
        specs: Sequence[Sequence[ServiceSpec]],
        *,
        log_dir: Path,
        report: Callable[[str], None],
        clock: Callable[[], float],
        limits: RestartLimits | None = None,
    ) -> None:
        self._log_dir = log_dir
        self._progress = asyncio.Event()
        self._stages = [
            [
                Child(
                    spec,
                    log_dir=log_dir,
                    report=report,
                    clock=clock,
                    limits=limits or RestartLimits(),
                    on_ready=self._progress.set,
                )
                for spec in stage
            ]
            for stage in specs
        ]
        children = [child for stage in self._stages for child in stage]
        self.children: Mapping[str, Child] = MappingProxyType({child.spec.name: child for child in children})
        """By name; `children[name].ready` is the ready line of the running process."""
        if len(self.children) != len(children):
            raise ValueError("two services have the same name")
        self._running: dict[Child, asyncio.Task[None]] = {}

    async def start(self, timeout_s: float) -> None:
        """Return when every child is ready. On LaunchError nothing is left running."""
        self._log_dir.mkdir(parents=True, exist_ok=True)
        try:
            async with asyncio.timeout(timeout_s):
                for stage in self._stages:
                    await self._start_stage(stage)
        except TimeoutError:
            late = [child for child in self.children.values() if child in self._running and not child.ready]
            reasons = [child.failure(f"was not ready after {timeout_s:g} s") for child in late]
            await self.stop()
            raise LaunchError("\n".join(reasons)) from None
        except BaseException:
            await self.stop()
            raise

    async def wait(self) -> None:
        """Return when `stop` has ended every child. Raises LaunchError when a child never gets ready."""
        ended, _ = await asyncio.wait(self._running.values(), return_when=asyncio.FIRST_EXCEPTION)
        for task in ended:
            task.result()

    async def stop(self, grace_s: float = 10.0) -> None:
        """Send SIGTERM to each stage in reverse order, and SIGKILL to process groups still alive after `grace_s`.

        A cancellation kills everything at once.
        """
        try:
            for stage in reversed(self._stages):
                await self._stop_stage([child for child in stage if child in self._running], grace_s)
        finally:
            for child in self._running:
                child.kill()
            await self._ended(self._running, _REAP_TIMEOUT_S)

    async def _start_stage(self, stage: list[Child]) -> None:
        for child in stage:
            task = asyncio.create_task(child.keep_running(), name=f"run {child.spec.name}")
            task.add_done_callback(lambda _: self._progress.set())
            self._running[child] = task
        while not all(child.ready for child in stage):
            for task in self._running.values():
                if task.done():
                    task.result()  # raises its error
                    raise LaunchError("the services were stopped while they were starting")
            self._progress.clear()
            await self._progress.wait()

    async def _stop_stage(self, stage: list[Child], grace_s: float) -> None:
        for child in stage:
            child.stop()
        await self._ended(stage, grace_s)
        for child in stage:
            child.kill()
        await self._ended(stage, _REAP_TIMEOUT_S)

    async def _ended(self, children: Sequence[Child] | Mapping[Child, object], timeout_s: float) -> None:
        # The error of a child is raised by `start` or `wait`.
        if tasks := [self._running[child] for child in children]:
            await asyncio.wait(tasks, timeout=timeout_s)
