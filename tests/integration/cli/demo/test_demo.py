"""`penstock demo` as a real process: the promises it shows, its exit code, and what it leaves behind."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest

from tests.harness.nats.binary import require_nats_server
from tests.harness.processes.fork_server import ForkedProcess
from tests.harness.processes.forked_services import fork_with_services
from tests.harness.processes.penstock_up import REPOSITORY, UNSET
from tests.harness.suite.examples import cases

FAILING = """
import sys
from penstock.cli.__main__ import main
from penstock.cli.demo import demo, steps
from penstock.cli.demo.prompts import PROMPTS
from msgspec.structs import replace

async def held(context, *_):
    return steps.StepResult(held=True, text="not in this test")

demo.PROMPTS = (replace(PROMPTS[6], role="coding"), PROMPTS[0])
for name in ("killed_worker", "empty_quota", "resumed_stream", "job"):
    setattr(steps, name, held)
for name in ("budget", "guard", "documents", "index_pages"):
    setattr(demo, name, held)
whole = demo.make_plan
demo.make_plan = lambda *arguments, **options: replace(whole(*arguments, **options), indexer=None)
sys.exit(main(["demo"]))
"""
"""The demo with a prompt that fails, an image for a role without a vision model, and without the other steps and
the indexer that they use.
"""


def run(directory: Path, *arguments: str, fresh: bool = False) -> subprocess.CompletedProcess[str]:
    """`fresh`: in separate interpreters, and not forked."""
    require_nats_server()
    env = {name: value for name, value in os.environ.items() if name not in UNSET}
    env["PYTHONPATH"] = str(REPOSITORY)
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as notes:
        process: subprocess.Popen[bytes] | ForkedProcess
        if fresh:
            argv = [sys.executable, "-P", *arguments]
            process = subprocess.Popen(argv, cwd=directory, env=env, stdout=out, stderr=notes)
        else:
            process = fork_with_services(arguments, env, out, notes, cwd=directory)
        try:
            code = process.wait(150)
        finally:
            process.kill()
        out.seek(0)
        notes.seek(0)
        return subprocess.CompletedProcess(arguments, code, out.read().decode(), notes.read().decode())


@pytest.mark.timeout(180)
@pytest.mark.parametrize("start", cases(["forked", "separate interpreters"], long={"separate interpreters"}))
def test_k2_the_demo_shows_every_promise_and_exits_0(tmp_path: Path, start: str):
    done = run(tmp_path, "-m", "penstock.cli", "demo", fresh=start != "forked")

    assert done.returncode == 0, done.stdout + done.stderr
    assert not done.stderr
    result = [line for line in done.stdout.splitlines() if line.startswith("    └ ")]
    assert len(result) == 8
    for line, part in zip(
        result,
        (
            ", restarted, ",
            "11 of 11 prompts of 8 roles",
            "the whole answer",
            "completed; ",
            " of 8 requests of the role safety at once, the others after ",
            " answers, then budget_exceeded at $0.000050 a day; ada: 3 answers; booked ",
            "personal data stayed here, the injection was blocked, the key was replaced",
            " chunks, indexed again with 0 provider calls, failure.md was found, the answer cites 1 of ",
        ),
        strict=True,
    ):
        assert line.startswith("    └ ok: ")
        assert part in line
    for part in (
        "All promises were shown in ",
        "attempt=1 error=server_error",
        "/metrics",
        "Spend by user and model",
        "You asked",
        "Sources (* cited in the answer",
        "make up",
    ):
        assert part in done.stdout
    assert (tmp_path / ".penstock" / "demo" / "traces.jsonl").stat().st_size > 0
    leftover = [process for process in psutil.process_iter(["cwd"]) if process.info["cwd"] == str(tmp_path)]
    assert not leftover


@pytest.mark.timeout(180)
def test_k2_a_failing_request_makes_the_demo_exit_1(tmp_path: Path):
    done = run(tmp_path, "-c", FAILING)

    assert done.returncode == 1, done.stdout + done.stderr
    assert "no model of the role coding reads images" in done.stdout
    assert "    └ FAILED: 1 of 2 prompts" in done.stdout
    assert "Everything is stopped." in done.stdout
