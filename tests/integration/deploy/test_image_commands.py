"""The containers' commands and variables, run without containers: forked from this code, and in `make prove` by the
wheel in a fresh environment. test_client_install compares what the wheel has with this code.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import sysconfig
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Protocol

import pytest

from penstock import Client, Document, Reply
from penstock.cli.local.nats_server import find_nats_server
from tests.contract.compose import OURS, ROOT, environment
from tests.harness.processes.fork_server import ForkedProcess, fork
from tests.harness.suite.examples import cases
from tests.integration.deploy.wheel import PIP, build_wheel

NAMES = ("simulator", "encoder", "router", "ledger", "guard", "indexer", "worker-coding", "worker-embed")
"""The services that are started before the edge."""
TEXT = "The pump of the north station is serviced in May."


class Image(Protocol):
    """Starts `penstock` with these arguments and variables, in the root directory."""

    def __call__(
        self, arguments: Sequence[str], env: Mapping[str, str], out: IO[bytes]
    ) -> subprocess.Popen[bytes] | ForkedProcess: ...


@pytest.fixture(params=cases(["forked", "wheel"], long={"wheel"}))
def image(request: pytest.FixtureRequest, tmp_path: Path) -> Image:
    return forked if request.param == "forked" else of_wheel(tmp_path)


def forked(arguments: Sequence[str], env: Mapping[str, str], out: IO[bytes]) -> ForkedProcess:
    """The module of a service, which `penstock run` would execute, runs without `penstock run`."""
    module = "penstock.cli"
    if arguments[0] == "run":
        module, arguments = f"services.{arguments[1]}", arguments[2:]
    with Path(os.devnull).open("wb") as unread:
        return fork(module, tuple(arguments), env, out, unread, cwd=Path("/"))


def of_wheel(directory: Path) -> Image:
    """The executable of an environment with the wheel that deploy/Dockerfile builds."""
    wheel = build_wheel(directory)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", directory / "venv"], check=True)
    python = directory / "venv/bin/python"
    subprocess.run([*PIP, "--python", python, "install", "--no-deps", "--no-index", wheel], check=True)
    # The dependencies are those of this environment; a path line does not include its editable installs.
    site = next((directory / "venv/lib").glob("python*/site-packages"))
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    executable = directory / "venv/bin/penstock"

    def start(arguments: Sequence[str], env: Mapping[str, str], out: IO[bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [executable, *arguments], env=dict(env), stdout=out, stderr=subprocess.DEVNULL, cwd="/"
        )

    return start


@pytest.fixture
def nats_url(tmp_path: Path, free_port: Callable[[], int]) -> Iterator[str]:
    """A server with the shipped configuration, on ports and a directory of its own."""
    port, http = free_port(), free_port()
    shipped = (ROOT / "deploy/nats/nats.conf").read_text()
    config = tmp_path / "nats.conf"
    config.write_text(shipped.replace('"/data"', json.dumps(str(tmp_path / "data"))))
    server = [find_nats_server(), "-c", config, "-a", "127.0.0.1", "-p", str(port), "-m", str(http)]
    with running(subprocess.Popen(server, stderr=subprocess.DEVNULL)):
        wait_for_status(f"http://127.0.0.1:{http}/healthz", 200)
        yield f"nats://127.0.0.1:{port}"


@contextmanager
def running(
    process: subprocess.Popen[bytes] | ForkedProcess,
) -> Iterator[subprocess.Popen[bytes] | ForkedProcess]:
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def wait_for_status(url: str, wanted: int, timeout_s: float = 20) -> None:
    give_up_s = time.monotonic() + timeout_s
    seen: object = None
    while time.monotonic() < give_up_s:
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 - our own loopback address
                seen = answer.status
        except urllib.error.HTTPError as error:
            seen = error.code
            error.close()
        except OSError as error:
            seen = error
        if seen == wanted:
            return
        time.sleep(0.05)
    pytest.fail(f"{url} answered {seen} and not {wanted}")


def here(name: str, nats_url: str, ports: Mapping[str, int], data: Path) -> dict[str, str]:
    """The service's variables, with this machine's addresses and directory in place of the containers'."""
    env = environment(OURS[name]) | {
        "PATH": os.environ["PATH"],
        "NATS_URL": nats_url,
        "PENSTOCK_HTTP_HOST": "127.0.0.1",
        "PENSTOCK_HTTP_PORT": str(ports[name]),
        "PENSTOCK_SIMULATOR_URL": f"http://127.0.0.1:{ports['simulator']}",
        "SIMULATOR_HOST": "127.0.0.1",
        "SIMULATOR_PORT": str(ports["simulator"]),
        "PENSTOCK_ENCODER_URL": f"http://127.0.0.1:{ports['encoder']}",
        "PENSTOCK_ENCODER_HOST": "127.0.0.1",
        "PENSTOCK_ENCODER_PORT": str(ports["encoder"]),
        "PENSTOCK_INDEX_LOCATION": str(data / "index"),
    }
    env["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://127.0.0.1:{unanswered_port()}"
    return env


def unanswered_port() -> int:
    """A port without a listener, as Jaeger's address: the system must work and stop without Jaeger."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def http_models(port: int, key: str) -> set[str]:
    asked = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/models", headers={"authorization": f"Bearer {key}"}
    )
    with urllib.request.urlopen(asked, timeout=5) as answer:  # noqa: S310 - the same
        return {model["id"] for model in json.load(answer)["data"]}


async def ask(nats_url: str) -> Reply:
    async with await Client.connect(nats_url) as client:
        return await client.chat("Write a function that adds two numbers.", role="coding", timeout_s=20)


async def index_and_search(nats_url: str) -> list[str]:
    """The passages that are found in a document with one text."""
    async with await Client.connect(nats_url) as client:
        await client.index_and_wait("stations", documents=[Document(id="north", text=TEXT)], timeout_s=30)
        found = await client.search("stations", "when is the pump serviced?", timeout_s=20)
        return [passage.text for passage in found.passages]


@pytest.mark.timeout(300)
def test_k4_d9_the_composed_services_answer_and_stop_on_sigterm(
    image: Image, nats_url: str, free_port: Callable[[], int], tmp_path: Path
) -> None:
    """K4, D9: the image's commands with Compose's variables, down to the exit code after SIGTERM."""
    ports = {name: free_port() for name in (*NAMES, "edge")}
    processes: dict[str, subprocess.Popen[bytes] | ForkedProcess] = {}
    with ExitStack() as stack:
        out = stack.enter_context((tmp_path / "out").open("wb"))
        for name in NAMES:
            started = image(OURS[name]["command"], here(name, nats_url, ports, tmp_path), out)
            processes[name] = stack.enter_context(running(started))
        for name in NAMES:
            status = 200 if name == "encoder" else 204
            wait_for_status(f"http://127.0.0.1:{ports[name]}/health", status, timeout_s=120)
        reply = asyncio.run(ask(nats_url))
        assert reply.role == "coding"
        assert reply.text
        assert asyncio.run(index_and_search(nats_url)) == [TEXT]
        # As `docker compose run --rm router keys create` and `docker compose --profile edge up` do.
        with (tmp_path / "key").open("wb") as key:
            made = image(["keys", "create"], here("router", nats_url, ports, tmp_path), key)
            assert made.wait(timeout=60) == 0
        public = free_port()
        env = here("edge", nats_url, ports, tmp_path)
        env |= {"PENSTOCK_EDGE_HOST": "127.0.0.1", "PENSTOCK_EDGE_PORT": str(public)}
        processes["edge"] = stack.enter_context(running(image(OURS["edge"]["command"], env, out)))
        wait_for_status(f"http://127.0.0.1:{public}/readyz", 200)
        wait_for_status(f"http://127.0.0.1:{public}/v1/models", 401)
        assert http_models(public, (tmp_path / "key").read_text().strip()) >= {"auto", "coding"}
        for name in ("edge", *reversed(NAMES)):
            processes[name].send_signal(signal.SIGTERM)
            assert processes[name].wait(timeout=30) == 0, name
