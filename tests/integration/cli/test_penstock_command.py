"""The `penstock` command on a real system: one `penstock up` for all tests of the module (K2, K3)."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from penstock.cli.demo.prompts import square_png
from penstock.cli.local.nats_server import NatsServer, find_nats_server
from penstock.contract.names import implicit_role
from penstock.runtime.runtime_file import read_runtime_file
from tests.harness.nats.binary import require_nats_server
from tests.harness.processes.penstock_up import REPOSITORY, UNSET, PenstockUp


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PenstockUp]:
    require_nats_server()
    started = PenstockUp(tmp_path_factory.mktemp("up"), fresh=True)
    yield started
    if started.process.poll() is None:
        started.stop()
    for process in started.started:  # processes that a failed test left behind
        process.kill()
        process.wait()


def test_up_prints_all_addresses(up: PenstockUp):
    runtime_file = read_runtime_file(up.directory / ".penstock")

    assert runtime_file is not None
    for part in (runtime_file.nats_url, "/health", "/metrics", "/sim/counts", "traces.jsonl", "logs"):
        assert part in up.text()
    names = {"encoder", "router", "ledger", "worker", "guard", "indexer", "edge"}
    assert runtime_file.services.keys() == names


def test_k2_the_curl_line_and_the_python_lines_that_up_prints_work(up: PenstockUp):
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    (curl,) = re.findall(r"^  (curl -N .*)$", up.text(), re.MULTILINE)
    streamed = subprocess.run(
        ["sh", "-c", f"{curl} --silent"], capture_output=True, text=True, timeout=30, check=False
    )
    assert streamed.stdout.endswith("data: [DONE]\n\n"), streamed.stderr

    lines = re.findall(r"^  (import openai; .*|print\(client.*)$", up.text(), re.MULTILINE)
    assert len(lines) == 2
    python = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, timeout=90, check=False
    )
    assert python.stdout.startswith("You asked: “Why is the sky blue?”"), python.stderr


def test_ask_streams_the_answer_and_prints_a_summary(up: PenstockUp):
    asked = up.run("ask", "Why do leaves turn red?")

    assert asked.returncode == 0
    assert asked.stdout.startswith("You asked: “Why do leaves turn red?”")
    summary = asked.stderr.strip()
    assert summary.startswith("chat (")
    for part in ("sim-chat-small", "1 attempt", "first token", "total", "tokens in"):
        assert part in summary
    assert "\n" not in summary, "one line"


def test_ask_takes_a_prompt_from_stdin_in_any_language(up: PenstockUp):
    asked = up.run("ask", "-", text="Напиши функцию на Python, которая сортирует список.")

    assert asked.returncode == 0
    assert "Вы спросили" in asked.stdout
    assert asked.stderr.startswith("coding (")


def test_d4_ask_names_the_model_that_answered(up: PenstockUp):
    asked = up.run("ask", "Two lines of verse", "--role", "creative", "--no-stream")

    assert "sim-creative-small · 3 attempts" in asked.stderr, "D4: the reply names the model that answered"
    assert asked.stdout.strip()


def test_ask_limits_the_tokens_of_the_answer(up: PenstockUp):
    asked = up.run("ask", "Why do leaves turn red?", "--max-tokens", "3")

    assert asked.returncode == 0
    assert "the answer was cut off" in asked.stderr
    assert " in, 3 out" in asked.stderr


def test_ask_sends_an_image(up: PenstockUp):
    (up.directory / "square.png").write_bytes(square_png(8, (0, 0, 255)))

    asked = up.run("ask", "What colour is it?", "--image", "square.png")

    assert asked.stderr.startswith("vision (an image")
    assert "I see 1 image" in asked.stdout


def test_ask_as_json_gives_every_event(up: PenstockUp):
    asked = up.run("ask", "hello", "--json", "--system", "be brief", "--user", "joe")

    events = [json.loads(line) for line in asked.stdout.splitlines()]
    assert events[0]["type"] == "accepted"
    assert events[-1]["type"] == "completed"
    assert {event["type"] for event in events[1:-1]} == {"started", "delta"}


def test_a_failure_is_reported_without_a_traceback(up: PenstockUp):
    picture = up.directory / "blue.png"
    picture.write_bytes(square_png(8, (0, 0, 255)))

    asked = up.run("ask", "What is it?", "--role", "coding", "--image", str(picture))

    assert asked.returncode == 1
    assert "no model of the role coding reads images" in asked.stderr
    assert "Traceback" not in asked.stderr
    assert "request " in asked.stderr


def test_d10_an_unknown_role_is_not_to_be_tried_again(up: PenstockUp):
    for command in ("ask", "explain"):
        asked = up.run(command, "hello", "--role", "poet")

        assert asked.returncode == 1
        assert "there is no role and no model 'poet'" in asked.stderr
        assert "The same request will fail again." in asked.stderr
        assert "Try again later" not in asked.stderr


def test_k2_ask_and_explain_take_a_model_in_place_of_a_role(up: PenstockUp):
    model = json.loads(up.run("explain", "--role", "coding", "--json", "hi").stdout)["chain"][-1]
    answered = up.run("ask", "--model", model, "Hello?")
    assert answered.returncode == 0, answered.stderr
    assert model in answered.stderr
    explained = json.loads(up.run("explain", "--model", model, "--json", "hi").stdout)
    assert explained["chain"] == [model]
    unknown = up.run("ask", "--model", f"{model}x", "Hello?")
    assert unknown.returncode == 1
    assert f"a similar name are {model}" in unknown.stderr

    def roles(*options: str) -> list[str]:
        return [role["role"] for role in json.loads(up.run("status", "--json", *options).stdout)["roles"]]

    up._until(lambda: implicit_role(model) in roles("--all"), 30)
    assert implicit_role(model) not in roles()


def test_explain_prints_role_complexity_why_chain_and_wait(up: PenstockUp):
    explained = up.run("explain", "Solve the equation x^2 = 4")

    assert explained.returncode == 0
    assert [line.split()[0] for line in explained.stdout.splitlines()] == [
        "role",
        "complexity",
        "why",
        "chain",
        "wait",
        "admitted",
    ]
    assert "logic" in explained.stdout
    assert json.loads(up.run("explain", "hi", "--json").stdout)["role"] == "chat"


def test_c3_explain_decides_as_ask_with_the_same_options(up: PenstockUp):
    options = ("--role", "chat", "--user", "ann", "--lane", "batch", "--timeout", "7000")
    explained = json.loads(up.run("explain", "hi", *options, "--json").stdout)
    assert explained["lane"] == "batch"
    assert 6_900 < explained["deadline_ms"] / 1000 - time.time() < 7_000
    printed = up.run("explain", "hi", *options)
    assert "as a job of the batch lane, with " in printed.stdout

    options = ("--timeout", "0.0001")  # passed on arrival, however fast the router is
    explained, asked = up.run("explain", "hi", *options), up.run("ask", "hi", *options)
    assert explained.returncode == asked.returncode == 1
    assert "deadline_exceeded" in explained.stderr
    assert "deadline_exceeded" in asked.stderr


def test_status_shows_services_and_queues(up: PenstockUp):
    status = up.run("status")

    assert status.returncode == 0
    for part in ("router-", "worker-", "coding", "0/16", "Dead letters: 0"):
        assert part in status.stdout
    assert {line["service"] for line in json.loads(up.run("status", "--json").stdout)["services"]} == {
        "router",
        "ledger",
        "worker",
        "guard",
        "indexer",
        "edge",
    }


def test_trace_shows_the_request_from_client_to_provider(up: PenstockUp):
    request_id = up.run("ask", "A poem", "--role", "creative").stderr.rsplit("id ", 1)[1].strip()

    traced = up.run("trace", request_id)

    assert traced.returncode == 0
    lines = traced.stdout.splitlines()
    assert request_id in lines[0]
    assert lines[1].startswith("└─ penstock-client"), "the client's span is the root"
    for part in ("penstock-router", "penstock-worker: wait", "attempt=1 error=server_error", "attempt=2"):
        assert part in traced.stdout
    assert up.run("trace", "last").stdout.splitlines()[0] == lines[0]


def test_an_unknown_request_is_an_error(up: PenstockUp):
    traced = up.run("trace", "no-such-request")

    assert traced.returncode == 1
    assert "no request no-such-request" in traced.stderr


def test_a_second_up_on_the_same_directory_is_rejected(up: PenstockUp):
    second = up.run("up")

    assert second.returncode == 1
    assert "in use by another `penstock up`" in second.stderr
    assert "name another directory with --data DIR" in second.stderr
    assert "Traceback" not in second.stderr
    assert up.run("ask", "still there?").returncode == 0


def test_an_unreachable_server_is_reported_with_the_fix(up: PenstockUp, free_port: Callable[[], int]):
    asked = up.run("ask", "hello", env={"NATS_URL": f"nats://127.0.0.1:{free_port()}"})

    assert asked.returncode == 1
    assert "no NATS server answers at" in asked.stderr
    assert "penstock up" in asked.stderr
    assert len(asked.stderr.strip().splitlines()) == 1


async def test_a_server_without_penstock_is_reported_at_once(up: PenstockUp, own_nats_server: NatsServer):
    asked = await asyncio.to_thread(up.run, "ask", "hello", env={"NATS_URL": own_nats_server.url})

    assert asked.returncode == 1
    assert "Penstock has never been started there" in asked.stderr


@pytest.mark.parametrize("arguments", [(), ("id-1",), ("id-1", "--result"), ("id-1", "--cancel")])
async def test_jobs_of_a_server_without_penstock_are_an_error(
    up: PenstockUp, own_nats_server: NatsServer, arguments: tuple[str, ...]
):
    jobs = await asyncio.to_thread(up.run, "jobs", *arguments, env={"NATS_URL": own_nats_server.url})

    assert jobs.returncode == 1
    assert "Penstock has never been started there" in jobs.stderr
    assert "Traceback" not in jobs.stderr


def test_ctrl_c_cancels_the_request(up: PenstockUp):
    up.simulator("PUT", "speed", {"tokens_per_second": 20})
    output = up.directory / "cancelled.log"
    asking = up.start("ask", "--json", "A long one [[tokens=1000]]", output=output)
    up._until(lambda: "delta" in output.read_text(), 60)

    asking.send_signal(signal.SIGINT)

    assert asking.wait(60) == 130
    assert "cancelled (request " in output.read_text()
    assert "Traceback" not in output.read_text()
    up._until(lambda: up.simulator("GET", "counts")["models"]["sim-chat-small"]["cancelled"], 20)  # D8
    up.simulator("PUT", "speed", {"tokens_per_second": 0})


def test_d8_cancel_ends_a_request_of_another_process(up: PenstockUp):
    up.simulator("PUT", "speed", {"tokens_per_second": 20})
    output = up.directory / "cancelled-by-id.log"
    asking = up.start("ask", "--json", "A long one [[tokens=1000]]", output=output)
    up._until(lambda: "delta" in output.read_text(), 60)

    cancelled = up.run("cancel", json.loads(output.read_text().partition("\n")[0])["id"])

    assert cancelled.returncode == 0, cancelled.stderr
    assert "cancel sent" in cancelled.stdout
    assert asking.wait(60) == 1
    assert '"code":"cancelled"' in output.read_text().replace(" ", "")
    up.simulator("PUT", "speed", {"tokens_per_second": 0})


def test_a_killed_worker_is_restarted_and_reported(up: PenstockUp):
    worker = next(child for child in up.children if "services.worker" in child.cmdline())
    worker.kill()

    up.until_logged("worker was killed by SIGKILL")

    asked = up.run("ask", "Are you there again?", "--timeout", "20")
    assert asked.returncode == 0, asked.stderr


def test_a_killed_nats_server_is_restarted_on_the_same_port(up: PenstockUp):
    server = next(child for child in up.children if "nats-server" in child.name())
    server.kill()

    up.until_logged("nats-server died")

    deadline_s = time.monotonic() + 20
    while (
        asked := up.run("ask", "And you?", "--timeout", "20")
    ).returncode and time.monotonic() < deadline_s:
        pass
    assert asked.returncode == 0, asked.stderr


def test_sigint_stops_everything(up: PenstockUp):
    children = psutil.Process(up.process.pid).children(recursive=True)
    assert len(children) >= 4

    assert up.stop(signal.SIGINT) == 0

    _, alive = psutil.wait_procs(children, timeout=0)
    assert not alive
    assert "waiting up to 25 s for requests in flight" in up.text()
    assert "Stopped; nothing is left running." in up.text()
    assert "Traceback" not in up.text()
    assert read_runtime_file(up.directory / ".penstock") is None
    assert up.run("trace", "last").returncode == 0, "the traces stay readable"


async def test_run_replaces_itself_by_the_service(tmp_path: Path):
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        "-m",
        "penstock.cli",
        "run",
        "simulator",
        "--port",
        "0",
        stdout=asyncio.subprocess.PIPE,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    assert process.stdout is not None
    ready = json.loads(await process.stdout.readline())
    process.terminate()

    assert ready["service"] == "simulator"
    assert await process.wait() == 0, "the service handles signals and sets the exit code"


@pytest.mark.parametrize("service", ["router", "worker", "edge", "simulator"])
def test_d10_run_prints_the_usage_of_a_service(tmp_path: Path, service: str):
    def run(option: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-P", "-m", "penstock.cli", "run", service, option],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    helped, mistaken = run("--help"), run("--foo")

    assert helped.returncode == 0
    assert helped.stdout.startswith(f"usage: penstock run {service}")
    assert mistaken.returncode == 2
    assert "unrecognized arguments: --foo" in mistaken.stderr


@pytest.mark.parametrize(
    ("jetstream", "message"),
    [
        ("jetstream {{store_dir: {directory}, max_file: 1GB}}", "the streams need 4.4 GiB and there is"),
        ("", "has no JetStream; start it with -js"),
    ],
    ids=["too small", "without JetStream"],
)
def test_d10_up_rejects_an_external_server_that_is_too_small(tmp_path: Path, jetstream: str, message: str):
    """The reason is printed once, before any service starts."""
    config = tmp_path / "nats.conf"
    lines = ("listen: '127.0.0.1:-1'", f"ports_file_dir: {tmp_path}", jetstream.format(directory=tmp_path))
    config.write_text("\n".join(lines) + "\n")
    server = subprocess.Popen([find_nats_server(), "-c", config], stderr=subprocess.DEVNULL)
    try:
        while not (found := list(tmp_path.glob("*.ports"))):
            time.sleep(0.02)
        (url,) = json.loads(found[0].read_text())["nats"]
        env = {name: value for name, value in os.environ.items() if name not in UNSET}
        started = subprocess.run(
            [sys.executable, "-P", "-m", "penstock.cli", "up"],
            cwd=tmp_path,
            env={**env, "PYTHONPATH": str(REPOSITORY), "NATS_URL": url},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    finally:
        server.terminate()
        server.wait()

    assert started.returncode == 1
    assert started.stderr.count(message) == 1
    assert "Traceback" not in started.stderr
    assert not list((tmp_path / ".penstock" / "logs").glob("*.log")), "no service was started"
