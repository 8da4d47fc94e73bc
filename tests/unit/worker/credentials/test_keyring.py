"""A6: the sources of a worker's keys, and the key in use through every change of its file."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.runtime.config.problems import ConfigurationRefused
from penstock.runtime.config.secrets import Found, SecretFile, Unusable
from penstock.runtime.config.settings import Settings
from services.worker.credentials.keyring import InvalidKeyFile, Keyring, OverdueKey, RotatedKey, open_keyring
from tests.unit.runtime.config.example import RIGHT, load

DAY_S = 86_400.0
NEW = Found("new", 50 * DAY_S)


def keyring(reading: SecretFile = None, env: dict[str, str] | None = None, **created_s: float) -> Keyring:
    return Keyring(("K",), env or {}, created_s, {"K": reading}, 90)


def test_a6_the_first_reading_is_accepted_and_a_file_takes_precedence() -> None:
    assert keyring(Found("file", 0.0), {"K": "env"}).value("K") == "file"
    assert keyring(None, {"K": "env"}).value("K") == "env"
    assert keyring(None).value("K") is None


def test_a6_a_new_key_is_accepted_when_two_readings_agree() -> None:
    ring = keyring(Found("old", 0.0))
    assert ring.update({"K": NEW}) == []
    assert (ring.value("K"), ring.awaits_confirmation) == ("old", True)
    assert ring.update({"K": NEW}) == [RotatedKey("K")]
    assert (ring.value("K"), ring.awaits_confirmation) == ("new", False)
    assert ring.update({"K": NEW}) == []


def test_a6_a_half_written_file_is_not_accepted() -> None:
    ring = keyring(Found("old-key", 0.0))
    for reading in (Unusable("is empty"), Found("ne", 1.0), Found("new-k", 1.001), Found("new-key", 1.002)):
        ring.update({"K": reading})
        assert ring.value("K") == "old-key"
    assert ring.update({"K": Found("new-key", 1.002)}) == [RotatedKey("K")]


def test_a6_a_reverted_change_is_not_accepted() -> None:
    ring = keyring(Found("old", 0.0))
    ring.update({"K": NEW})
    assert ring.update({"K": Found("old", 0.0)}) == []
    assert ring.update({"K": NEW}) == []
    assert ring.value("K") == "old"


@pytest.mark.parametrize(
    ("reading", "why"),
    [
        (None, "is gone"),
        (Unusable("is empty"), "is empty"),
        (Unusable("is not a plain file"), "is not a plain file"),
    ],
)
def test_a6_an_invalid_file_keeps_the_last_key_and_is_reported_once(reading: SecretFile, why: str) -> None:
    ring = keyring(Found("good", 0.0), {"K": "env"})
    assert ring.update({"K": reading}) == [InvalidKeyFile("K", why)]
    assert ring.update({"K": reading}) == []
    assert (ring.value("K"), ring.file_error("K")) == ("good", why)
    assert ring.update({"K": Found("good", 0.0)}) == []
    assert ring.file_error("K") == ""
    assert ring.update({"K": reading}) == [InvalidKeyFile("K", why)]


def test_a6_a_variable_without_a_file_is_valid() -> None:
    ring = keyring(None, {"K": "env"})
    assert ring.initial_invalid_files == []
    assert ring.update({"K": None}) == []
    assert ring.file_error("K") == ""


def test_a6_with_an_invalid_first_file_the_variable_is_used() -> None:
    ring = keyring(Unusable("is empty"), {"K": "env"})
    assert ring.initial_invalid_files == [InvalidKeyFile("K", "is empty")]
    assert ring.value("K") == "env"


def test_a6_a_key_may_come_later_from_a_file() -> None:
    ring = keyring(None)
    assert ring.may_come_later
    ring.update({"K": NEW})
    assert ring.update({"K": NEW}) == [RotatedKey("K")]
    assert ring.value("K") == "new"
    assert not Keyring(("K",), {}, {}, {}, 90).may_come_later


def test_a6_a_file_with_the_key_of_the_variable_rotates_nothing() -> None:
    ring = keyring(None, {"K": "same"})
    assert ring.update({"K": Found("same", 5 * DAY_S)}) == []
    assert ring.age_days("K", 6 * DAY_S) == 1
    assert ring.update({"K": None}) == [InvalidKeyFile("K", "is gone")]


def test_a6_the_age_counts_from_the_last_change_of_the_content() -> None:
    ring = keyring(Found("old", 10 * DAY_S))
    assert ring.age_days("K", 12.5 * DAY_S) == 2
    ring.update({"K": Found("old", 12 * DAY_S)})
    assert ring.age_days("K", 13 * DAY_S) == 3, "rewriting the same key does not reset its age"
    ring.update({"K": NEW})
    ring.update({"K": NEW})
    assert ring.age_days("K", 51 * DAY_S) == 1
    assert ring.age_days("K", 0.0) == 0, "a clock that lags"


def test_a6_the_age_of_a_variable_is_known_if_configured() -> None:
    assert keyring(None, {"K": "env"}).age_days("K", DAY_S) is None
    assert keyring(None, {"K": "env"}, K=DAY_S).age_days("K", 3 * DAY_S) == 2


def test_a6_a_configured_date_applies_to_the_first_key_of_a_file_too() -> None:
    mounted = keyring(Found("old", 100 * DAY_S), K=0.0)
    assert mounted.age_days("K", 100 * DAY_S) == 100, "mounted today, created long ago"
    late = keyring(None, K=0.0)
    late.update({"K": Found("old", 100 * DAY_S)})
    late.update({"K": Found("old", 100 * DAY_S)})
    assert late.age_days("K", 100 * DAY_S) == 100
    for ring in (mounted, late, keyring(None, {"K": "old"}, K=0.0)):
        ring.update({"K": Found("new", 110 * DAY_S)})
        assert ring.update({"K": Found("new", 110 * DAY_S)}) == [RotatedKey("K")]
        assert ring.age_days("K", 112 * DAY_S) == 2, "the configured date was that of the old key"


def test_a6_each_key_is_reported_as_too_old_once() -> None:
    ring = keyring(Found("old", 0.0))
    assert ring.newly_overdue(90.9 * DAY_S) == [], "ninety days old is not older than ninety days"
    assert ring.newly_overdue(91 * DAY_S) == [OverdueKey("K", 91)]
    assert ring.newly_overdue(92 * DAY_S) == []
    ring.update({"K": NEW})
    ring.update({"K": NEW})
    assert ring.newly_overdue(93 * DAY_S) == []
    assert ring.newly_overdue(141 * DAY_S) == [OverdueKey("K", 91)]


def test_a6_a_keyring_does_not_print_its_keys() -> None:
    ring = keyring(Found("secret-old", 0.0), {"K": "secret-env"})
    ring.update({"K": Found("secret-new", 1.0)})
    assert "secret" not in repr(ring._keys)


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
