"""K8: `pip install penstock` installs only the client, beside an application's own schemas, services and utils."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from penstock.cli.demo.documents import EXPECTED
from tests.contract.compose import ROOT
from tests.contract.documents import blocks
from tests.harness.processes.system import System, running_system
from tests.integration.bus.nats_auth_server import Operator, new_seed
from tests.integration.deploy.wheel import PIP, build_wheel

CLIENT = {
    *("penstock", "nats-py", "msgspec", "opentelemetry-api"),
    *("typing-extensions", "importlib-metadata", "zipp"),
}
"""Names of the distributions that may be installed: the client's dependencies on any supported version of Python."""
MOST_BYTES = 10_000_000
URL = "nats://127.0.0.1:4222"
PROJECT = {
    "schemas/__init__.py": "OURS = 'schemas'",
    "services/__init__.py": "",
    "services/router.py": "OURS = 'services'",
    "utils/__init__.py": "OURS = 'utils'",
    "own.py": "import schemas, services.router, utils\n"
    "from penstock import Client, Completed, Delta, Failed, Job, NatsAuth, Reply, RequestFailed\n"
    "print(schemas.OURS, services.router.OURS, utils.OURS, Client.__name__)",
}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a fresh environment with Penstock's wheel, without any extra."""
    directory = tmp_path_factory.mktemp("client")
    wheel = build_wheel(directory)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", directory / "venv"], check=True)
    python = directory / "venv/bin/python"
    began_s = time.monotonic()
    done = subprocess.run(
        [*PIP, "--python", python, "install", "--retries", "0", "--no-compile", wheel],
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        pytest.skip(f"pip cannot install the client's dependencies here: {done.stderr.strip()[-300:]}")
    print(f"installed in {time.monotonic() - began_s:.1f} s")
    return python


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A user's project whose packages have the names of folders in Penstock's repository."""
    for name, text in PROJECT.items():
        path = tmp_path / "project" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "project"


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[System]:
    async with running_system(tmp_path) as started:
        yield started


def run(python: Path, project: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run(
        [python, *arguments],
        cwd=project,
        env={**clean, "PYTHONPATH": str(project), **env},
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_k8_the_client_alone_is_installed_and_is_small(installed: Path, project: Path):
    listing = (
        "import importlib.metadata as m, json, pathlib, re\n"
        "found = list(m.distributions())\n"
        "files = {path for each in found for path in each.files if '.pyc' not in str(path)}\n"
        "sizes = sum(path.locate().stat().st_size for path in files if path.locate().is_file())\n"
        "names = sorted(re.sub('[_.]', '-', each.metadata['Name']).lower() for each in found)\n"
        "print(json.dumps([names, sizes]))"
    )
    done = run(installed, project, "-c", listing)
    assert done.returncode == 0, done.stderr
    names, size = json.loads(done.stdout)
    assert {"penstock", "nats-py", "msgspec", "opentelemetry-api"} <= set(names)
    assert set(names) <= CLIENT
    assert size < MOST_BYTES


def test_g1_the_weights_of_the_guards_classifiers_are_installed_with_it(installed: Path):
    (folder,) = installed.parent.parent.glob("lib/*/site-packages/services/guard/classifier")
    shipped = {path.name for path in (folder / "weights").iterdir()}
    assert shipped == {path.name for path in (ROOT / "services/guard/classifier/weights").iterdir()}
    assert (folder / "MODEL_CARD.md").is_file()


def test_k4_every_module_is_installed_and_the_data_that_services_read(installed: Path):
    (site,) = installed.parent.parent.glob("lib/*/site-packages")
    for package in ("penstock", "services"):
        assert files(site / package) == files(ROOT / package)
    shipped = files(installed.parents[1] / "share/penstock/catalogues")
    assert shipped == files(ROOT / "deploy/catalogues")
    assert "presets/groq.yaml" in shipped


def files(folder: Path) -> set[str]:
    """Those in `folder` and below that an installation has: what the wheel leaves out is not counted."""
    left_out = {"README.md", "__pycache__", "training"}
    paths = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    return {str(path) for path in paths if not left_out & set(path.parts)}


def test_k2_the_pages_that_the_demo_indexes_are_installed(installed: Path):
    shipped = {path.name for path in (installed.parents[1] / "share/penstock/docs").iterdir()}
    assert shipped == {"failure.md", "jobs.md", "quotas.md", "streaming.md"}
    assert EXPECTED in shipped, "the page that answers the demo's question"


def test_k8_an_application_keeps_its_own_schemas_services_and_utils(installed: Path, project: Path):
    done = run(installed, project, "own.py")
    assert (done.returncode, done.stdout) == (0, "schemas services utils Client\n"), done.stderr


COMMANDS = [
    *(
        "ask hi",
        "explain hi",
        "status",
        "cancel abc",
        "jobs",
        "dead list",
        "keys list",
        "budget list",
        "spend",
    ),
    *(
        "ledger status",
        "guard try hi",
        "guard verdicts",
        "index own.py --collection c",
        "search hi --collection c",
    ),
    *("collections list", "memory list --user ada"),
]
"""Those that need only a connection, in a form that asks the system something."""


@pytest.mark.parametrize("arguments", COMMANDS)
def test_k8_the_client_alone_has_the_commands_that_need_a_connection_only(
    installed: Path, project: Path, arguments: str
):
    nothing = "nats://127.0.0.1:1"
    command = installed.parent / "penstock"
    done = run(command, project, *arguments.split(), PYTHONPATH="", NATS_URL=nothing)
    assert done.returncode == 1
    assert f"no NATS server answers at {nothing}" in done.stderr


def test_k8_the_command_without_the_extra_names_it(installed: Path, project: Path):
    command = installed.parent / "penstock"
    for arguments in (["up"], ["run", "router"], ["config", "check"], ["prices", "list"]):
        done = run(command, project, *arguments, PYTHONPATH="")
        assert done.returncode == 1
        assert "pip install 'PATH[server]'" in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("variable", ["NATS_CREDS", "NATS_NKEY_SEED"])
def test_k8_an_nkey_without_its_extra_names_it(installed: Path, project: Path, tmp_path: Path, variable: str):
    path = tmp_path / "secret"
    path.write_text(Operator().user_creds() if variable == "NATS_CREDS" else new_seed().decode())
    done = run(installed.parent / "penstock", project, "status", PYTHONPATH="", **{variable: str(path)})
    assert done.returncode == 1
    assert f"{variable}: needs the extra nkeys" in done.stderr
    assert "pip install 'penstock[nkeys]'" in done.stderr
    assert "Traceback" not in done.stderr


EXAMPLES = [each for each in blocks(ROOT / "README.md", "python") if "from penstock import" in each]
"""The first one of the README uses OpenAI's client; tests/integration/docs runs it."""


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
async def test_k8_the_readme_runs_with_the_client_alone(
    installed: Path, project: Path, system: System, number: int
):
    done = run(
        installed, project, "-c", EXAMPLES[number].replace(URL, system.nats.url), NATS_URL=system.nats.url
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_the_repository_has_no_top_level_package_that_hides_a_users():
    for name in ("schemas", "services", "utils"):
        spec = importlib.util.find_spec(name)
        assert spec is None or spec.origin is None, f"{name} is a regular package"
