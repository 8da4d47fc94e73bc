"""K7: the comparison with other gateways: which are installed, ratios and the table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.bench.peers.gateways import GATEWAYS, missing
from tests.bench.peers.table import BARE, compared, peer_table


def install(folder: Path) -> None:
    for name in ("litellm", "tensorzero"):
        (folder / f"{name}/lib/python3.11/site-packages/{name}-1.2.3.dist-info").mkdir(parents=True)
    package = folder / "portkey/node_modules/@portkey-ai/gateway"
    package.mkdir(parents=True)
    (package / "package.json").write_text(json.dumps({"version": "4.5.6"}))


def test_k7_an_absent_gateway_is_skipped_with_a_message_that_names_its_folder(tmp_path: Path) -> None:
    messages = missing(tmp_path)
    assert set(messages) == {"litellm proxy", "Portkey gateway", "TensorZero"}
    for name, message in messages.items():
        assert message.startswith(f"{name}: skipped, not installed in {tmp_path}")


def test_k7_an_installed_gateway_is_found_with_its_version(tmp_path: Path) -> None:
    install(tmp_path)
    assert missing(tmp_path) == {}
    assert [gateway.version(tmp_path) for gateway in GATEWAYS] == ["1.2.3", "4.5.6", "1.2.3"]


def test_k7_a_gateway_is_asked_on_loopback_and_asks_only_the_simulator(tmp_path: Path) -> None:
    install(tmp_path)
    for gateway in GATEWAYS:
        scratch = tmp_path / gateway.name
        scratch.mkdir()
        start = gateway.start(tmp_path, scratch, "http://127.0.0.1:9/v1", 8001)
        assert start.url in {"http://127.0.0.1:8001/v1", ""}
        named = " ".join([*start.headers.values(), *(file.read_text() for file in scratch.iterdir())])
        assert "http://127.0.0.1:9/v1" in named
        assert "https://" not in named


def figures(gateway_ms: float, client_ms: float) -> dict[str, Any]:
    return {
        "gateway_cpu_ms_at": {"1": 2 * gateway_ms, "16": gateway_ms},
        "gateway_cpu_ms": gateway_ms,
        "client_cpu_ms": client_ms,
        "p50_ms": {"1": 4.0},
        "requests_per_s": 500.4,
    }


def test_k7_the_ratio_is_that_of_gateway_and_client_to_the_bare_call() -> None:
    found = compared({BARE: figures(0.0, 1.25), "Penstock": figures(2.0, 0.5)})
    assert found[BARE]["ratio"] == 1.0
    assert found["Penstock"]["ratio"] == 2.0


def test_k7_the_table_has_a_line_for_each_gateway_and_no_cpu_or_memory_where_there_is_none() -> None:
    found = compared({BARE: figures(0.0, 1.25), "Penstock": figures(2.0, 0.5)})
    found[BARE]["rss_mb"], found["Penstock"]["rss_mb"] = 0.0, 100.0
    head, _, bare, penstock = peer_table(found).splitlines()
    assert head.split("  ")[0] == "gateway"
    assert "CPU ms at 1  CPU ms at 16  client's CPU ms" in head
    assert bare.split() == [*BARE.split(), "1.25", "1.00", "4.00", "500"]
    assert penstock.split() == ["Penstock", "4.00", "2.00", "0.50", "2.00", "4.00", "500", "100"]
