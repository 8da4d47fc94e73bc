"""The examples in the documents, run against the real system."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from tests.contract.documents import ROOT, blocks, code
from tests.harness.processes.system import System, shared_system

EDGE = "http://127.0.0.1:8080"
ASK = ROOT / "docs/examples/ask.mjs"


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with shared_system(tmp_path_factory.mktemp("examples")) as started:
        yield started


@pytest.fixture
def node() -> str:
    found = shutil.which("node")
    if found is None:
        pytest.skip("node is not installed, so the JavaScript example cannot run")
    return found


async def run(*argv: str, **env: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *argv,
        env={**os.environ, **env},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(30):
            stdout, stderr = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return process.returncode, stdout.decode(), stderr.decode()


@pytest.mark.parametrize(
    ("number", "expected"), [(1, "coding ("), (2, "m-chat, 40 tokens"), (3, "You asked")]
)
async def test_k2_the_python_examples_run(system: System, number: int, expected: str) -> None:
    example = blocks(ROOT / "README.md", "python")[number]
    assert "nats://127.0.0.1:4222" in example
    here = example.replace("nats://127.0.0.1:4222", system.nats.url)
    status, stdout, stderr = await run(sys.executable, "-c", here, PYTHONPATH=str(ROOT))
    assert status == 0, stderr
    assert expected in stdout


async def test_k2_the_first_example_is_openais_client(system: System) -> None:
    example = blocks(ROOT / "README.md", "python")[0]
    status, stdout, stderr = await run(sys.executable, "-c", example.replace(EDGE, await edge_of(system)))
    assert status == 0, stderr
    assert stdout.startswith("m-coding: You asked")


async def test_k2_the_curl_lines_get_a_whole_and_a_streamed_answer(system: System) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    url = await edge_of(system)
    lines = re.findall(r"^curl (?:.*\\\n)*.*$", code(ROOT / "README.md"), re.MULTILINE)
    whole, streamed = [await run("sh", "-c", line.replace(EDGE, url)) for line in lines]
    assert json.loads(whole[1])["model"] == "m-chat"
    assert streamed[1].rstrip().endswith("data: [DONE]")


async def edge_of(system: System) -> str:
    edge = system.new_edge()
    await edge.start()
    return str(edge.ready["url"])


async def test_k1_the_javascript_example_prints_an_answer(system: System, node: str) -> None:
    """The example uses no package; text in a non-Latin script arrives complete."""
    status, stdout, stderr = await run(node, str(ASK), "Почему небо голубое?", NATS_URL=system.nats.url)
    assert status == 0, stderr
    assert "Почему небо голубое?" in stdout
    assert stderr.startswith("request ")
    assert "chat answered" in stderr


async def test_e2_a_missed_event_is_read_from_the_store(system: System, node: str) -> None:
    """The example follows the rule for gaps in docs/streaming.md."""
    async with dropping_a_delta(system.nats.url) as (url, dropped):
        status, stdout, stderr = await run(
            node, str(ASK), "Why is the sky blue? [[tokens=200]]", NATS_URL=url
        )
    assert status == 0, stderr
    assert len(dropped) == 1
    assert dropped[0]["text"]
    assert stdout.startswith("You asked: “Why is the sky blue?")


@asynccontextmanager
async def dropping_a_delta(url: str) -> AsyncIterator[tuple[str, list[dict[str, str]]]]:
    """A proxy to the server that drops the first delta of a reply."""
    dropped: list[dict[str, str]] = []
    tasks: set[asyncio.Task[None]] = set()

    async def to_server(client: asyncio.StreamReader, server: asyncio.StreamWriter) -> None:
        while data := await client.read(65_536):
            server.write(data)
        server.close()

    async def to_client(server: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        while line := await server.readline():
            fields = line.split()
            payload = await server.readexactly(int(fields[-1]) + 2) if fields[0] in {b"MSG", b"HMSG"} else b""
            if not dropped and fields[0] == b"MSG" and b'"type":"delta"' in payload:
                dropped.append(json.loads(payload))
            else:
                client.write(line + payload)
        client.close()

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        tasks.add(asyncio.create_task(to_server(reader, there[1])))
        tasks.add(asyncio.create_task(to_client(there[0], writer)))

    server = await asyncio.start_server(pass_on, "127.0.0.1", 0)
    async with server:
        yield f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}", dropped
        await asyncio.gather(*tasks)


async def test_k1_d10_the_javascript_example_prints_a_failure(system: System, node: str) -> None:
    status, stdout, stderr = await run(
        node, str(ASK), "Hello", NATS_URL=system.nats.url, PENSTOCK_ROLE="poet"
    )
    assert status == 1
    assert stdout == ""
    identity, refusal = stderr.splitlines()
    assert identity.startswith("request ")
    assert refusal.startswith("unknown_role: there is no role and no model 'poet'")
