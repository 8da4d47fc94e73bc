import json
import os
import subprocess
import sys
from pathlib import Path

import aiohttp
import groq
import openai
import pytest

from penstock.runtime.processes.pdeathsig import die_with_parent

ROOT = Path(__file__).parents[3]


class Simulator:
    """A simulator process."""

    def __init__(self, **variables):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SIMULATOR_")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "services.simulator", "--port", "0"],
            cwd=ROOT,
            env={**environment, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            preexec_fn=die_with_parent(),  # noqa: PLW1509 - allocates nothing, see there
        )
        line = self.process.stdout.readline()
        if not line:
            _, errors = self.process.communicate(timeout=20)
            raise AssertionError(errors.decode())
        self.ready = json.loads(line)
        self.url = self.ready["url"]

    def stop(self):
        """Returns (exit status, the rest of stdout, stderr)."""
        self.process.terminate()
        rest, errors = self.process.communicate(timeout=20)
        return self.process.returncode, rest.decode(), errors.decode()


class Http:
    """aiohttp against one simulator."""

    def __init__(self, session, url):
        self.session = session
        self.url = url

    def chat(self, model, content="Hello", *, key="k", **options):
        body = {"model": model, "messages": [{"role": "user", "content": content}], **options}
        return self.session.post(
            f"{self.url}/v1/chat/completions", json=body, headers={"authorization": f"Bearer {key}"}
        )

    async def put(self, path, value):
        async with self.session.put(f"{self.url}/sim/{path}", json=value) as response:
            assert response.status == 200, await response.text()
            return await response.json()

    async def counts(self, model=None):
        async with self.session.get(f"{self.url}/sim/counts") as response:
            report = await response.json()
        return report if model is None else report["models"][model]


@pytest.fixture(scope="session")
def shared_simulator():
    simulator = Simulator()
    yield simulator
    assert simulator.stop() == (0, "", "")


@pytest.fixture
def start_simulator():
    """Start further simulators; each must stop cleanly and without output on stderr."""
    started = []

    def start(**variables):
        simulator = Simulator(**variables)
        started.append(simulator)
        return simulator

    yield start
    for simulator in started:
        if simulator.process.returncode is None:
            assert simulator.stop() == (0, "", "")


@pytest.fixture
async def session():
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session:
        yield session


@pytest.fixture
async def http(shared_simulator, session):
    async with session.post(f"{shared_simulator.url}/sim/reset") as response:
        assert response.status == 200
    return Http(session, shared_simulator.url)


@pytest.fixture
def connect(session):
    return lambda simulator: Http(session, simulator.url)


@pytest.fixture(params=["openai", "groq"])
async def sdk(request, shared_simulator, http):
    """(module, client) of the real SDK, without its retries."""
    if request.param == "openai":
        module, base_url = openai, f"{shared_simulator.url}/v1"
        make = openai.AsyncOpenAI
    else:
        module, base_url = groq, shared_simulator.url
        make = groq.AsyncGroq
    async with make(api_key="k", base_url=base_url, max_retries=0, timeout=5) as client:
        yield module, client
