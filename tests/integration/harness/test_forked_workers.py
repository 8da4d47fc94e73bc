"""Several processes run a suite as one process would: each test once, its output and its failure its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

CONFTEST = """
import os
import pytest
from tests.harness.suite.forked_workers import run_in_processes

def pytest_runtestloop(session):
    run_in_processes(session, 2)
    return True

@pytest.fixture(scope="session")
def shared(tmp_path_factory):
    ended = tmp_path_factory.mktemp("shared") / "ended"
    yield os.getpid()
    ended.write_text(str(os.getpid()))
    print("the shared fixture ended")
"""
FILE = """
import os, time
import pytest

@pytest.mark.parametrize("number", range(3))
def test_passes(shared, tmp_path, number):
    assert shared == os.getpid()
    (tmp_path / "own").write_text(str(number))
    time.sleep(0.05)
"""
FAILING = (
    FILE
    + """
def test_fails():
    print(f"printed by {'this'} test")
    assert [1, 2] == [1, 3]
"""
)
DYING = """
import os, time

def test_first():
    pass

def test_dies():
    os._exit(7)

def test_after():
    pass
"""


def run_suite(directory: Path, *options: str, **files: str) -> tuple[str, dict[str, list[str]]]:
    """Run a suite of these files. Returns what it printed, and the outcomes of each test by name."""
    (directory / "conftest.py").write_text(CONFTEST)
    for name, text in files.items():
        (directory / f"test_{name}.py").write_text(text)
    result = directory / "result.xml"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-c", "/dev/null", "-p", "no:xdist", "-p", "no:cacheprovider"),
            *("--rootdir", directory, "--basetemp", directory / "temporary", f"--junitxml={result}"),
            *options,
            directory,
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    outcomes: dict[str, list[str]] = {}
    for case in ET.parse(result).iter("testcase"):  # noqa: S314 - written by pytest
        if "classname" not in case.attrib:
            continue  # a test that was stopped
        name = f"{case.attrib['classname'].rpartition('.')[2]}::{case.attrib['name']}"
        outcomes.setdefault(name, []).extend([child.tag for child in case] or ["passed"])
    return done.stdout + done.stderr, outcomes


def test_each_test_runs_once_with_the_session_fixture_of_its_process(tmp_path: Path) -> None:
    printed, outcomes = run_suite(tmp_path, one=FILE, two=FILE, three=FILE)
    names = {f"test_{file}::test_passes[{number}]" for file in ("one", "two", "three") for number in range(3)}
    assert outcomes == {name: ["passed"] for name in names}, printed
    assert "9 passed" in printed
    ended = list((tmp_path / "temporary").glob("process-*/shared0/ended"))
    assert len(ended) == 2
    assert len({each.read_text() for each in ended}) == 2


def test_a_failure_is_reported_with_its_assertion_and_its_output(tmp_path: Path) -> None:
    printed, outcomes = run_suite(tmp_path, one=FILE, two=FAILING)
    assert outcomes["test_two::test_fails"] == ["failure"]
    assert [name for name, results in outcomes.items() if results != ["passed"]] == ["test_two::test_fails"]
    assert "At index 1 diff: 2 != 3" in printed
    assert printed.count("printed by this test") == 1
    assert "1 failed, 6 passed" in printed


def test_the_test_during_which_a_process_dies_fails_and_the_other_files_run(tmp_path: Path) -> None:
    printed, outcomes = run_suite(tmp_path, dying=DYING, one=FILE, three=FILE, two=FILE)
    assert outcomes["test_dying::test_dies"] == ["failure"]
    assert "the process ended with 7; 1 tests of its file did not run" in printed
    assert "1 failed, 10 passed" in printed


def test_the_suite_stops_at_the_first_failure_when_it_is_told_to(tmp_path: Path) -> None:
    printed, outcomes = run_suite(tmp_path, "-x", a=FAILING, b=FILE, c=FILE)
    assert "stopping after 1 failures" in printed
    assert outcomes["test_a::test_fails"] == ["failure"]
