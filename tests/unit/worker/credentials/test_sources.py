"""A6: the sources of a worker's keys."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.runtime.config.problems import ConfigurationRefused
from penstock.runtime.config.settings import Settings
from services.worker.credentials.keyring import open_keyring
from tests.unit.runtime.config.example import RIGHT, load


def test_a6_keys_come_from_files_and_variables_of_the_used_providers(tmp_path: Path) -> None:
    (tmp_path / "HERE_KEY").write_text("from-file")
    (tmp_path / "OTHER_KEY").write_text("unused")
    env = {"HERE_KEY": "from-env", "HERE_KEY_CREATED": "1970-01-03"}
    kept = open_keyring(load(RIGHT), ["chat"], Settings(secrets_dir=str(tmp_path)), env)
    assert (kept.names, kept.value("HERE_KEY"), kept.may_come_later) == (("HERE_KEY",), "from-file", True)
    plain = open_keyring(load(RIGHT), ["chat"], Settings(key_max_age_days=1), env)
    assert (plain.value("HERE_KEY"), plain.may_come_later) == ("from-env", False)
    assert [old.age_days for old in plain.newly_overdue(5 * 86_400.0)] == [3]


def test_a6_k6_a_missing_directory_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationRefused) as caught:
        open_keyring(load(RIGHT), ["chat"], Settings(secrets_dir=str(tmp_path / "nowhere")), {})
    assert "names a directory that does not exist. Fix: mount it there" in str(caught.value)
