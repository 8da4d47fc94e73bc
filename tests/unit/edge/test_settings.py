"""K6: the settings of the edge, with every mistake reported at once."""

from __future__ import annotations

import pytest

from penstock.runtime.config.problems import ConfigurationRefused
from services.edge.settings import EdgeSettings, load_edge_settings


def test_k6_without_variables_the_defaults_apply():
    assert load_edge_settings({}) == EdgeSettings()
    assert (EdgeSettings().host, EdgeSettings().port) == ("127.0.0.1", 8080)


def test_k6_every_variable_is_read():
    env = {
        "PENSTOCK_EDGE_HOST": "0.0.0.0",  # noqa: S104 - not listened on
        "PENSTOCK_EDGE_PORT": "0",
        "PENSTOCK_EDGE_BODY_BYTES": "2048",
        "PENSTOCK_EDGE_HEADER_BYTES": "4096",
        "PENSTOCK_EDGE_READ_S": "3",
        "PENSTOCK_EDGE_WRITE_S": "4",
        "PENSTOCK_EDGE_WAIT_S": "0.5",
        "PENSTOCK_EDGE_KEYS": "required",
        "PENSTOCK_EDGE_KEY_REQUESTS": "7",
        "PENSTOCK_EDGE_CORS_ORIGINS": "https://a.example, https://b.example",
    }
    assert load_edge_settings(env) == EdgeSettings(
        host="0.0.0.0",  # noqa: S104
        port=0,
        body_bytes=2048,
        header_bytes=4096,
        read_s=3,
        write_s=4,
        wait_s=0.5,
        keys="required",
        key_requests=7,
        cors_origins=("https://a.example", "https://b.example"),
    )


def test_k6_every_mistake_is_reported_at_once():
    env = {"PENSTOCK_EDGE_PORT": "http", "PENSTOCK_EDGE_READ_S": "-1", "PENSTOCK_EDGE_KEYS": "yes"}
    with pytest.raises(ConfigurationRefused) as refused:
        load_edge_settings(env)
    for name in env:
        assert name in str(refused.value)
