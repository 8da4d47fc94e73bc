"""The containers' commands and variables, run without containers: the wheel in a fresh environment."""

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
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from penstock import Client, Document, Reply
from penstock.cli.local.nats_server import find_nats_server
from tests.contract.compose import OURS, ROOT, environment
from tests.integration.deploy.wheel import PIP, build_wheel

NAMES = ("simulator", "encoder", "router", "ledger", "guard", "indexer", "worker-coding", "worker-embed")
"""The services that are started before the edge."""
TEXT = "The pump of the north station is serviced in May."


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of executables of an environment with the wheel that deploy/Dockerfile builds."""
    directory = tmp_path_factory.mktemp("image")
    wheel = build_wheel(directory)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", directory / "venv"], check=True)
    python = directory / "venv/bin/python"
    subprocess.run([*PIP, "--python", python, "install", "--no-deps", "--no-index", wheel], check=True)
    # The dependencies are those of this environment; a path line does not include its editable installs.
    site = next((directory / "venv/lib").glob("python*/site-packages"))
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return directory / "venv/bin"


@pytest.fixture
def nats_url(tmp_path: Path, free_port: Callable[[], int]) -> Iterator[str]:
    """A server with the shipped configuration, on ports and a directory of its own."""
    port, http = free_port(), free_port()
    shipped = (ROOT / "deploy/nats/nats.conf").read_text()
    config = tmp_path / "nats.conf"
    config.write_text(shipped.replace('"/data"', json.dumps(str(tmp_path / "data"))))
    server = [find_nats_server(), "-c", config, "-a", "127.0.0.1", "-p", str(port), "-m", str(http)]
    with running(server, os.environ):
        wait_for_status(f"http://127.0.0.1:{http}/healthz", 200)
        yield f"nats://127.0.0.1:{port}"


@contextmanager
def running(argv: list[object], env: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [str(argument) for argument in argv], env=dict(env), stderr=subprocess.DEVNULL, cwd="/"
    )
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
    installed: Path, nats_url: str, free_port: Callable[[], int], tmp_path: Path
) -> None:
    """K4, D9: the image's commands with Compose's variables, down to the exit code after SIGTERM."""
    ports = {name: free_port() for name in (*NAMES, "edge")}
    processes: dict[str, subprocess.Popen[bytes]] = {}
    with ExitStack() as stack:
        for name in NAMES:
            argv = [installed / "penstock", *OURS[name]["command"]]
            processes[name] = stack.enter_context(running(argv, here(name, nats_url, ports, tmp_path)))
        for name in NAMES:
            status = 200 if name == "encoder" else 204
            wait_for_status(f"http://127.0.0.1:{ports[name]}/health", status, timeout_s=120)
        reply = asyncio.run(ask(nats_url))
        assert reply.role == "coding"
        assert reply.text
        assert asyncio.run(index_and_search(nats_url)) == [TEXT]
        # As `docker compose run --rm router keys create` and `docker compose --profile edge up` do.
        made = subprocess.run(
            [installed / "penstock", "keys", "create"],
            env=here("router", nats_url, ports, tmp_path),
            check=True,
            capture_output=True,
            text=True,
            cwd="/",
        )
        public = free_port()
        env = here("edge", nats_url, ports, tmp_path)
        env |= {"PENSTOCK_EDGE_HOST": "127.0.0.1", "PENSTOCK_EDGE_PORT": str(public)}
        processes["edge"] = stack.enter_context(
            running([installed / "penstock", *OURS["edge"]["command"]], env)
        )
        wait_for_status(f"http://127.0.0.1:{public}/readyz", 200)
        wait_for_status(f"http://127.0.0.1:{public}/v1/models", 401)
        assert http_models(public, made.stdout.strip()) >= {"auto", "coding"}
        for name in ("edge", *reversed(NAMES)):
            processes[name].send_signal(signal.SIGTERM)
            assert processes[name].wait(timeout=30) == 0, name
