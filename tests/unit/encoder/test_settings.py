"""The settings of the encoder, and what it says without its libraries."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from penstock.runtime.config.problems import ConfigurationRefused
from penstock.runtime.processes.extras import ENCODER, missing_libraries_text
from services.encoder.__main__ import main
from services.encoder.settings import EncoderSettings, load_encoder_settings


def test_h2_without_variables_the_defaults_count():
    assert load_encoder_settings({"PENSTOCK_ENCODER_PORT": ""}) == EncoderSettings()
    assert EncoderSettings().host == "127.0.0.1"


def test_h2_all_mistakes_are_reported_together():
    with pytest.raises(ConfigurationRefused) as refused:
        load_encoder_settings({"PENSTOCK_ENCODER_PORT": "x", "PENSTOCK_ENCODER_THREADS": "0"})
    assert "PENSTOCK_ENCODER_PORT" in str(refused.value)
    assert "PENSTOCK_ENCODER_THREADS" in str(refused.value)


def test_h2_missing_libraries_are_named_with_the_extra_that_has_them(monkeypatch, capsys):
    incomplete = replace(ENCODER, modules=("json", "no_such_module"))
    text = missing_libraries_text(incomplete)
    assert "(no_such_module): install the extra encoder (pip install 'penstock[encoder]'" in text
    assert missing_libraries_text(ENCODER) == ""
    monkeypatch.setattr("services.encoder.__main__.ENCODER", incomplete)
    assert main(["--port", "0"]) == 2
    assert capsys.readouterr().err == f"{text}\n"
