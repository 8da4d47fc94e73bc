"""K2: where an edge listens."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from penstock.runtime.serving.listening import url_of
from services.edge.__main__ import main
from services.edge.http.listener import bind


@pytest.fixture
def taken_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_k2_a_taken_port_is_reported_with_the_variable(
    taken_port: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("PENSTOCK_EDGE_PORT", str(taken_port))
    monkeypatch.setenv("PENSTOCK_CATALOGUE", "simulator")
    monkeypatch.setenv("PENSTOCK_SIMULATOR_URL", "http://127.0.0.1:1")
    assert main([]) == 2
    error = capsys.readouterr().err
    assert f"cannot listen on 127.0.0.1, port {taken_port}" in error
    assert "PENSTOCK_EDGE_PORT" in error


def test_k2_a_taken_port_is_reported_before_the_slow_imports(taken_port: int):
    """So within a second, on a machine that is not busy."""
    program = (
        "import sys; from services.edge.__main__ import main; code = main([]); "
        "sys.exit(1 if code != 2 else 2 if 'faststream' in sys.modules or 'nats' in sys.modules else 0)"
    )
    env = {
        **os.environ,
        "PENSTOCK_EDGE_PORT": str(taken_port),
        "PENSTOCK_CATALOGUE": "simulator",
        "PENSTOCK_SIMULATOR_URL": "http://127.0.0.1:1",
    }
    assert subprocess.run([sys.executable, "-c", program], env=env, timeout=60, check=False).returncode == 0


def test_k6_wrong_settings_are_reported_and_the_exit_code_is_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("PENSTOCK_EDGE_PORT", "http")
    assert main([]) == 2
    assert "PENSTOCK_EDGE_PORT" in capsys.readouterr().err


def test_k2_the_fallback_port_serves_where_the_other_is_taken(taken_port: int):
    with bind("127.0.0.1", taken_port, 0) as listener:
        assert url_of(listener) == f"http://127.0.0.1:{listener.getsockname()[1]}"
        assert listener.getsockname()[1] != taken_port


def test_k2_an_address_of_ip_version_6_is_written_in_brackets():
    try:
        listener = bind("::1", 0)
    except OSError:
        pytest.skip("this machine has no IPv6")
    with listener:
        assert url_of(listener).startswith("http://[::1]:")
