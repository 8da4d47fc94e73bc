"""The clients, installed from their registries into directories that only these tests use, and their suites."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from pathlib import Path

import pytest
from msgspec import Struct

__all__ = ["HERE", "Outcome", "clean_environment", "node_clients", "outcomes", "python_clients"]

HERE = Path(__file__).parent
_INSTALL_S = 240
_UNKNOWN_VERSION = re.compile(r"ETARGET|from versions: (?!none)|ResolutionImpossible")
"""What pip and npm print where the registry answers, and a version does not exist or fit."""
_OLDEST_NODE = 20


class Outcome(Struct, frozen=True):
    """One test of a suite."""

    name: str
    failure: str = ""
    skipped: str = ""
    """The reason."""


def python_clients(directory: Path) -> Path:
    """The interpreter of a new environment with the Python clients; skips the test where they cannot be installed."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", directory], check=True)
    python = directory / "bin/python"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python]
    _install(
        [*pip, "install", "--quiet", "--retries", "0", "-r", HERE / "python/requirements.txt"], directory
    )
    return python


def node_clients(directory: Path) -> Path:
    """A copy of the suites for node with its packages; skips the test where there is no node or no registry."""
    node = shutil.which("node")
    if node is None or shutil.which("npm") is None:
        pytest.skip("node and npm are not installed")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if int(version.removeprefix("v").partition(".")[0]) < _OLDEST_NODE:
        pytest.skip(f"the suites need node {_OLDEST_NODE} or newer, not {version}")
    copy = shutil.copytree(HERE / "node", directory / "node")
    _install(["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries", "0"], copy)
    return copy


def _install(argv: list[str | Path], directory: Path) -> None:
    try:
        done = subprocess.run(
            argv, cwd=directory, capture_output=True, text=True, check=False, timeout=_INSTALL_S
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"{argv[0]} did not install the clients within {_INSTALL_S} s")
    if done.returncode:
        assert not _UNKNOWN_VERSION.search(done.stderr), done.stderr
        pytest.skip(f"the clients cannot be installed here: {done.stderr.strip()[:300]}")


def clean_environment(directory: Path, env: Mapping[str, str]) -> dict[str, str]:
    """This process's environment without what configures Python, the clients or the services, and with a home of its
    own: some clients keep files there.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_REMOVED)}
    return {**kept, "HOME": str(directory), "NO_PROXY": "127.0.0.1", **env}


_REMOVED = (
    "PYTHON",
    "OPENAI_",
    "ANTHROPIC_",
    "LLM_",
    "LANGCHAIN_",
    "LANGSMITH_",
    "PENSTOCK_",
    "SIMULATOR_",
    "PYTEST_",
)


def outcomes(argv: list[str | Path], directory: Path, report: Path, env: Mapping[str, str]) -> list[Outcome]:
    """Run a suite that writes a JUnit report."""
    done = subprocess.run(
        argv, cwd=directory, env={**env}, capture_output=True, text=True, check=False, timeout=280
    )
    assert report.exists(), done.stdout[-3000:] + done.stderr[-3000:]
    cases = ET.parse(report).getroot().iter("testcase")  # noqa: S314 - written by the suite of this repository
    found = [_outcome(case) for case in cases]
    assert found, done.stdout[-3000:] + done.stderr[-3000:]
    return found


def _outcome(case: ET.Element) -> Outcome:
    name = f"{(case.get('classname') or '').rpartition('.')[2]}::{case.get('name')}"
    skipped = case.find("skipped")
    if skipped is not None:
        return Outcome(name, skipped=skipped.get("message") or "no reason")
    broken = case.find("failure") if case.find("failure") is not None else case.find("error")
    return Outcome(name, failure=("" if broken is None else broken.text or broken.get("message") or "failed"))
