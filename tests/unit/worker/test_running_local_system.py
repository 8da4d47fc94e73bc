"""The addresses that a worker takes from `penstock up`, and when it does not start without a simulator."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.runtime.config.load import read_catalogue
from penstock.runtime.config.problems import ConfigurationRefused
from penstock.runtime.runtime_file import RuntimeFile, found_text, write_runtime_file
from services.worker.running_local_system import check_simulator, found_environment

NATS = "nats://127.0.0.1:4999"
SIMULATOR = "http://127.0.0.1:4711"
MIXED = """
name: mixed
providers:
  simulator: {base_url: "${PENSTOCK_SIMULATOR_URL:-http://127.0.0.1:1}/v1"}
  other: {base_url: "http://127.0.0.1:2/v1"}
models: {a: {provider: simulator}, b: {provider: other}}
roles: {chat: {chain: [a, b]}, coding: {chain: [a]}}
"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_runtime_file(tmp_path, RuntimeFile(nats_url=NATS, embedded=True, pid=1, simulator=SIMULATOR))
    return tmp_path


def yes(_: str) -> bool:
    return True


def no(_: str) -> bool:
    return False


@pytest.mark.parametrize("nats", ["", NATS, "nats://localhost:4999", "127.0.0.1:4999"])
def test_the_simulator_of_the_same_nats_server_is_used(data: Path, nats: str):
    found = found_environment({"NATS_URL": nats}, data, yes)
    assert found["PENSTOCK_SIMULATOR_URL"] == SIMULATOR
    assert found["NATS_URL"] == (nats or NATS)


def test_h2_the_encoder_of_the_same_system_is_used_unless_one_is_set(tmp_path: Path):
    write_runtime_file(tmp_path, RuntimeFile(nats_url=NATS, embedded=True, pid=1, encoder="http://encoder:1"))
    assert found_environment({}, tmp_path, yes)["PENSTOCK_ENCODER_URL"] == "http://encoder:1"
    assert "PENSTOCK_ENCODER_URL" not in found_environment({}, tmp_path, no)
    mine = {"PENSTOCK_ENCODER_URL": "http://mine"}
    assert found_environment(mine, tmp_path, yes)["PENSTOCK_ENCODER_URL"] == "http://mine"


@pytest.mark.parametrize("nats", ["nats://127.0.0.1:4222", "nats://elsewhere:4999", "nats://a:1,nats://b:2"])
def test_the_simulator_beside_another_nats_server_is_not_used(data: Path, nats: str):
    assert found_environment({"NATS_URL": nats}, data, yes) == {"NATS_URL": nats}


def test_the_catalogue_of_the_same_system_is_used_unless_one_is_set(tmp_path: Path):
    running = RuntimeFile(nats_url=NATS, embedded=True, pid=1, catalogue="/own.yaml")
    write_runtime_file(tmp_path, running)
    assert found_environment({}, tmp_path, no)["PENSTOCK_CATALOGUE"] == "/own.yaml"
    assert found_environment({"PENSTOCK_CATALOGUE": "groq"}, tmp_path, no)["PENSTOCK_CATALOGUE"] == "groq"
    assert "PENSTOCK_CATALOGUE" not in found_environment({"NATS_URL": "nats://elsewhere:1"}, tmp_path, no)


def test_a_named_directory_without_a_system_is_refused(tmp_path: Path):
    """The default address may be that of another system."""
    with pytest.raises(ConfigurationRefused, match=r"--data .*no `penstock up` runs with it.*set NATS_URL"):
        found_environment({}, tmp_path, no)
    assert found_environment({"NATS_URL": NATS}, tmp_path, no) == {"NATS_URL": NATS}


def test_a_stopped_simulator_is_not_used(data: Path):
    assert "PENSTOCK_SIMULATOR_URL" not in found_environment({}, data, no)


def test_set_variables_stay_and_the_file_is_read_only_when_needed(tmp_path: Path):
    (tmp_path / "up.json").write_text("[1")
    env = {"NATS_URL": NATS, "PENSTOCK_SIMULATOR_URL": "http://mine"}
    assert found_environment(env, tmp_path, yes) == env
    with pytest.raises(ConfigurationRefused, match=r"up\.json: cannot be read .*remove it"):
        found_environment({}, tmp_path, yes)


def test_the_report_of_found_addresses_contains_no_password(data: Path):
    found = {"NATS_URL": "nats://u:secret@h:1", "PENSTOCK_SIMULATOR_URL": SIMULATOR}
    report = found_text({}, found, data)
    assert report is not None
    assert "secret" not in report
    assert f"PENSTOCK_SIMULATOR_URL={SIMULATOR}" in report
    assert found_text(found, found, data) is None


def test_a_worker_of_the_simulator_catalogue_needs_a_simulator(tmp_path: Path):
    catalogue = read_catalogue(None, {})
    check_simulator(catalogue, ["chat"], {}, tmp_path, answers=yes)
    check_simulator(catalogue, ["chat"], {"PENSTOCK_SIMULATOR_URL": "http://later"}, tmp_path, answers=no)
    with pytest.raises(ConfigurationRefused, match="set PENSTOCK_SIMULATOR_URL=http://HOST:PORT"):
        check_simulator(catalogue, ["chat"], {}, tmp_path, answers=no, timeout_s=0)


def test_a_simulator_that_starts_meanwhile_is_waited_for(tmp_path: Path):
    answers = iter([False, False, True])
    check_simulator(read_catalogue(None, {}), ["chat"], {}, tmp_path, answers=lambda _: next(answers))
    assert next(answers, None) is None


def test_roles_with_another_provider_start_without_simulator(tmp_path: Path):
    file = tmp_path / "mixed.yaml"
    file.write_text(MIXED)
    env = {"PENSTOCK_CATALOGUE": str(file)}
    catalogue = read_catalogue(None, env)
    check_simulator(catalogue, ["chat", "coding"], env, tmp_path, answers=no, timeout_s=0)
    with pytest.raises(ConfigurationRefused):
        check_simulator(catalogue, ["coding"], env, tmp_path, answers=no, timeout_s=0)


class NoProvider(http.server.BaseHTTPRequestHandler):
    """Some other program on the port, as Prometheus' node exporter is on 9100."""

    def do_GET(self) -> None:
        self.send_error(404)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def other_program() -> Iterator[str]:
    server = http.server.HTTPServer(("127.0.0.1", 0), NoProvider)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_another_program_on_the_port_is_not_a_simulator(data: Path, other_program: str):
    write_runtime_file(data, RuntimeFile(nats_url=NATS, embedded=True, pid=1, simulator=other_program))
    assert "PENSTOCK_SIMULATOR_URL" not in found_environment({}, data)
