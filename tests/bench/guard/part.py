"""The part `guard` of the benchmark."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.bench.guard.added_latency import guarded_latency_figures, guarded_latency_targets
from tests.bench.guard.output_filter import guard_figures, guard_targets
from tests.bench.guard.process import guard_process_figures, guard_process_targets
from tests.bench.targets import Target

__all__ = ["all_guard_figures", "all_guard_targets"]


async def all_guard_figures(directory: Path, _env: Mapping[str, str]) -> dict[str, Any]:
    for name in ("process", "latency"):
        (directory / name).mkdir()
    return {
        **await guard_figures(),
        **await guard_process_figures(directory / "process"),
        **await guarded_latency_figures(directory / "latency"),
    }


def all_guard_targets(report: dict[str, Any]) -> list[Target]:
    return [*guard_targets(report), *guard_process_targets(report), *guarded_latency_targets(report)]
