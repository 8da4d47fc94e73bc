"""Commands find the system that `penstock up` started in the same directory."""

from __future__ import annotations

import stat

import pytest

from penstock.runtime.config.problems import ConfigurationRefused
from penstock.runtime.config.settings import load_settings
from penstock.runtime.runtime_file import (
    RuntimeFile,
    client_environment,
    read_runtime_file,
    remove_runtime_file,
    service_environment,
    write_runtime_file,
)

PLACES = RuntimeFile(
    nats_url="nats://127.0.0.1:4999",
    embedded=True,
    pid=17,
    services={"router": "http://127.0.0.1:1"},
    traces="/data/traces.jsonl",
    sampling={"PENSTOCK_TRACE_SAMPLE_RATIO": "0", "PENSTOCK_TRACE_SLOW_S": "2"},
)


def test_the_commands_read_what_up_writes(tmp_path):
    write_runtime_file(tmp_path, PLACES)

    assert read_runtime_file(tmp_path) == PLACES
    assert stat.S_IMODE((tmp_path / "up.json").stat().st_mode) == 0o600, "the address may hold a password"
    remove_runtime_file(tmp_path)
    assert read_runtime_file(tmp_path) is None


def test_an_unreadable_file_is_reported_with_its_fix(tmp_path):
    (tmp_path / "up.json").write_text("[1, 2")

    with pytest.raises(ConfigurationRefused, match="remove it, or set NATS_URL"):
        read_runtime_file(tmp_path)


def test_the_running_system_fills_in_what_is_not_set():
    found = client_environment({"NATS_CREDENTIALS": "/no/such/file"}, PLACES)

    assert found["NATS_URL"] == PLACES.nats_url
    assert found["PENSTOCK_TRACES"] == "file:/data/traces.jsonl"
    assert not found["NATS_CREDENTIALS"], "the embedded server needs none"


def test_j1_a_command_samples_the_traces_that_it_begins_as_the_running_system_does():
    env = {"PENSTOCK_TRACE_SLOW_S": "5", "PENSTOCK_TRACE_SAMPLE_RATIO": ""}

    settings = load_settings(client_environment(env, PLACES))

    assert settings.trace_sample_ratio == 0
    assert settings.trace_slow_s == 5, "its own variable goes before"


def test_nats_url_takes_precedence_over_the_running_system():
    env = {"NATS_URL": "nats://elsewhere:4222"}

    assert client_environment(env, PLACES) == env


@pytest.mark.parametrize("name", ["PENSTOCK_TRACES", "OTEL_EXPORTER_OTLP_ENDPOINT"])
def test_traces_are_sent_to_the_address_in_the_environment(name):
    found = client_environment({name: "off"}, PLACES)

    assert found.get("PENSTOCK_TRACES") in {None, "off"}


def test_nothing_runs_and_nothing_is_set():
    assert client_environment({}, None) == {}


def test_a_service_beside_a_running_system_takes_its_server_and_catalogue(tmp_path):
    write_runtime_file(
        tmp_path, RuntimeFile(nats_url="nats://h:1", embedded=True, pid=1, catalogue="/own.yaml")
    )
    found = service_environment({}, tmp_path)
    assert (found["NATS_URL"], found["PENSTOCK_CATALOGUE"]) == ("nats://h:1", "/own.yaml")
    assert service_environment({"PENSTOCK_CATALOGUE": "groq"}, tmp_path)["PENSTOCK_CATALOGUE"] == "groq"
    elsewhere = {"NATS_URL": "nats://elsewhere:1"}
    assert service_environment(elsewhere, tmp_path) == elsewhere
    assert service_environment({}, tmp_path / "other") == {}
