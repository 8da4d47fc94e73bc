"""`make bench`: what requests cost, and the targets. `make bench PART=requests`: only a part of it.

The progress and the table go to stderr; the last line, on stdout, is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final

import uvloop
from msgspec import Struct

from tests.bench.busy import MachineTooBusy, explain_stalls
from tests.bench.edge import edge_figures, edge_targets
from tests.bench.growth import growth_figures, growth_table, growth_targets
from tests.bench.guard.part import all_guard_figures, all_guard_targets
from tests.bench.ledger import ledger_figures, ledger_targets
from tests.bench.machine import machine, machine_line
from tests.bench.requests import request_figures, request_targets
from tests.bench.retrieval.part import retrieval_figures, retrieval_targets
from tests.bench.sink import otlp_sink
from tests.bench.start import start_figures, start_targets
from tests.bench.streams import stream_figures, stream_targets
from tests.bench.targets import Target, target_table

_Figures = Callable[[Path, Mapping[str, str]], Awaitable[dict[str, Any]]]


class _Part(Struct, frozen=True):
    figures: _Figures
    targets: Callable[[dict[str, Any]], list[Target]]
    table: Callable[[dict[str, Any]], str] | None = None
    """A table of its own, above that of the targets."""
    by_name_only: bool = False


PARTS: Final = {
    "requests": _Part(request_figures, request_targets),
    "streams": _Part(stream_figures, stream_targets),
    "edge": _Part(edge_figures, edge_targets),
    "ledger": _Part(ledger_figures, ledger_targets),
    "guard": _Part(all_guard_figures, all_guard_targets),
    "start": _Part(start_figures, start_targets),
    "retrieval": _Part(retrieval_figures, retrieval_targets),
    "growth": _Part(growth_figures, growth_targets, growth_table, by_name_only=True),
}


async def _measure(parts: list[str]) -> tuple[dict[str, Any], list[str]]:
    """The report, and the parts that could be measured."""
    sink, address = await otlp_sink()
    traces = {"PENSTOCK_TRACES": "otlp", "OTEL_EXPORTER_OTLP_ENDPOINT": address}
    report: dict[str, Any] = {"machine": machine()}
    measured = []
    with tempfile.TemporaryDirectory() as name:
        for part in parts:
            print(f"measuring {part} ...", file=sys.stderr)
            directory = Path(name) / part
            directory.mkdir()
            try:
                report |= await PARTS[part].figures(directory, traces)
            except MachineTooBusy as error:
                print(f"{part}: not measured: {error}", file=sys.stderr)
                continue
            measured.append(part)
    sink.close()
    return report, measured


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench")
    parser.add_argument("parts", nargs="*", choices=PARTS, help="without a name: all but growth")
    parts = parser.parse_args().parts or [name for name, part in PARTS.items() if not part.by_name_only]
    explain_stalls()
    report, measured = uvloop.run(_measure(parts))
    targets = [target for part in measured for target in PARTS[part].targets(report)]
    for table in (PARTS[part].table for part in measured):
        if table is not None:
            print(table(report), file=sys.stderr)
    print(machine_line(report["machine"]), target_table(targets), sep="\n", file=sys.stderr, flush=True)
    print(json.dumps(report))
    sys.exit(0 if measured == parts else 1)


if __name__ == "__main__":
    main()
