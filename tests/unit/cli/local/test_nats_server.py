"""The configuration of the embedded nats-server."""

from __future__ import annotations

from pathlib import Path

from penstock.cli.local.nats_server import nats_config


def test_config_listens_on_loopback_only_and_quotes_paths(tmp_path: Path):
    odd = tmp_path / 'a "b" c'
    text = nats_config(directory=odd, store_dir=odd / "store", port=-1, server_name="penstock")
    assert 'listen: "127.0.0.1:-1"' in text
    assert 'http: "127.0.0.1:-1"' in text
    assert r"a \"b\" c/store" in text
