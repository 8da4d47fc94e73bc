"""E1: clients that others wrote work unchanged; each test of their suites is reported as a subtest."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.clients.environments import (
    HERE,
    Outcome,
    clean_environment,
    node_clients,
    outcomes,
    python_clients,
)
from tests.harness.processes.system import System
from tests.harness.suite.proofs import report_figures

pytestmark = [pytest.mark.prove, pytest.mark.timeout(300)]

PYTHON = ("openai_sdk", "anthropic_sdk", "langchain", "pydantic_ai", "llm")
NODE = ("openai_sdk", "ai_sdk")
SKIPPED: Mapping[str, Mapping[str, str]] = {
    "langchain": {
        "TestUnit::test_serdes": "compares the class with a recorded serialisation; sends no request",
        "TestIntegration::test_stream_time": "VCR not set up.",  # compares with recorded HTTP traffic
    }
}
"""The tests that a suite skips, with the reason."""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return python_clients(tmp_path_factory.mktemp("python-clients"))


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return node_clients(tmp_path_factory.mktemp("node-clients"))


@pytest.fixture
def environment(system: System, url: str, home: Path) -> dict[str, str]:
    addresses = {"PENSTOCK_EDGE": url, "PENSTOCK_SIMULATOR": system.simulator.ready["url"]}
    return clean_environment(home, addresses)


@pytest.mark.parametrize("suite", PYTHON)
def test_e1_the_suite_of_a_python_client_passes(
    suite: str, python: Path, environment: dict[str, str], home: Path, subtests: pytest.Subtests
):
    report = home / "report.xml"
    argv = [python, "-m", "pytest", "-q", "-c", HERE / "python/pytest.ini", f"--junit-xml={report}"]
    found = outcomes([*argv, HERE / f"python/test_{suite}.py"], HERE / "python", report, environment)
    _check(suite, found, subtests)


@pytest.mark.parametrize("suite", NODE)
def test_e1_the_suite_of_a_node_client_passes(
    suite: str, node: Path, environment: dict[str, str], home: Path, subtests: pytest.Subtests
):
    report = home / "report.xml"
    argv = ["node", "--test", "--test-reporter=junit", f"--test-reporter-destination={report}"]
    _check(suite, outcomes([*argv, f"{suite}.test.mjs"], node, report, environment), subtests)


def _check(suite: str, found: list[Outcome], subtests: pytest.Subtests) -> None:
    for outcome in found:
        with subtests.test(outcome.name):
            assert not outcome.failure, outcome.failure
    skipped = {outcome.name: outcome.skipped for outcome in found if outcome.skipped}
    expected = SKIPPED.get(suite, {})
    assert skipped == expected
    report_figures(f"{suite}: {len(found) - len(skipped)} tests run, {len(skipped)} skipped")
