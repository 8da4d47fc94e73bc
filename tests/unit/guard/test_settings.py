from __future__ import annotations

import os
from pathlib import Path

import pytest

from penstock.runtime.config.load import load_catalogue
from penstock.runtime.config.problems import ConfigurationRefused
from penstock.runtime.config.settings import Settings
from services.guard.settings import cache_directory, moderation_key
from tests.harness.processes.catalogues import catalogue


def test_g4_the_cache_is_in_the_cache_of_the_user(tmp_path: Path):
    found = cache_directory({"XDG_CACHE_HOME": str(tmp_path / "x"), "HOME": str(tmp_path)})
    assert found == tmp_path / "x/penstock-guard"
    assert found.stat().st_mode & 0o777 == 0o700
    assert cache_directory({"HOME": str(tmp_path)}) == tmp_path / ".cache/penstock-guard"


def test_g4_a_directory_to_which_others_may_write_is_not_used(tmp_path: Path):
    shared = tmp_path / "x/penstock-guard"
    shared.mkdir(parents=True)
    shared.chmod(0o777)
    found = cache_directory({"XDG_CACHE_HOME": str(tmp_path / "x"), "HOME": str(tmp_path)})
    assert found == tmp_path / ".cache/penstock-guard"


def test_g4_a_link_to_another_directory_is_not_used(tmp_path: Path):
    (tmp_path / "x").mkdir()
    (tmp_path / "x/penstock-guard").symlink_to(tmp_path)
    assert cache_directory({"XDG_CACHE_HOME": str(tmp_path / "x"), "HOME": str(tmp_path / "h")}) == (
        tmp_path / "h/.cache/penstock-guard"
    )


def test_g4_without_a_home_the_cache_is_temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert cache_directory({}) == tmp_path / f"penstock-guard-{os.getuid()}"


def configured(**moderation: object):
    section = {"detectors": {"openai_moderation": moderation}} if moderation else {}
    env = {"PENSTOCK_SIMULATOR_URL": "http://127.0.0.1:1"}
    return load_catalogue(catalogue(guard=section), source="test", env=env)


def test_g1_the_key_of_the_moderation_endpoint_is_read_from_its_file_or_the_environment(tmp_path: Path):
    enabled = configured(enabled=True, api_key_env="MODERATION_KEY")
    assert moderation_key(enabled, Settings(), {"MODERATION_KEY": "one"}) == "one"
    (tmp_path / "MODERATION_KEY").write_text("two\n")
    assert moderation_key(enabled, Settings(secrets_dir=str(tmp_path)), {"MODERATION_KEY": "one"}) == "two"
    assert moderation_key(configured(), Settings(), {}) is None


def test_g1_a_missing_key_is_a_mistake_in_the_configuration():
    with pytest.raises(ConfigurationRefused, match="OPENAI_API_KEY: is not set"):
        moderation_key(configured(enabled=True), Settings(), {})
