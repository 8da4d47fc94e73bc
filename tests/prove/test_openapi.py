"""K2, D10: the edge does what its OpenAPI document says, for the valid and invalid requests of schemathesis."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness.processes.process import Process
from tests.harness.processes.system import running_system
from tests.harness.requests.edge_client import chat_body, request
from tests.harness.suite.proofs import report_figures

pytestmark = [pytest.mark.prove, pytest.mark.timeout(600)]

CONFIG = Path(__file__).with_name("openapi.toml")
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "missing_required_header",
    "unsupported_method",
    "allow_header_conformance",
)
PHASES = ("examples", "coverage", "fuzzing", "stateful")
EXAMPLES = 20
"""Generated requests for each operation and kind of data in the phase `fuzzing`; `coverage` makes about 100."""
MOST_S = 480


async def test_k2_the_edge_does_what_its_document_says(tmp_path: Path):
    async with running_system(tmp_path) as system:
        edge = system.new_edge(PENSTOCK_EDGE_WAIT_S="0.5")
        await edge.start()
        output = schemathesis(edge, tmp_path)
        answer = await request("POST", f"{edge.ready['url']}/v1/chat/completions", chat_body("Still there?"))
        assert answer.status == 200
    requests = re.search(r"([\d,]+) generated", output)
    assert requests is not None, output
    assert int(requests[1].replace(",", "")) > 1_000
    report_figures(f"schemathesis: {requests[1]} requests, {len(CHECKS)} checks")


def schemathesis(edge: Process, directory: Path) -> str:
    """Its output; fails with it where a check fails."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", CONFIG, "--no-color"),
            *("run", f"{edge.ready['url']}/openapi.json", "--seed", "1", "--continue-on-failure"),
            *("--checks", ",".join(CHECKS), "--phases", ",".join(PHASES), "--mode", "all"),
            *("--max-examples", str(EXAMPLES), "--request-timeout", "30", "--warnings", "off"),
        ],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
        timeout=MOST_S,
    )
    assert done.returncode == 0, done.stdout[-8_000:] + done.stderr[-2_000:]
    return done.stdout
