"""A6: what a file of a directory of secrets is read as."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from penstock.runtime.config.problems import ConfigurationRefused
from penstock.runtime.config.secrets import Found, Unusable, effective_keys, key_dates, read_secret

KEY = "gsk_0123456789abcdef"


@pytest.mark.parametrize("content", [KEY, f"{KEY}\n", f"{KEY}\r\n", f"  {KEY}\n\n"])
def test_a6_a_key_is_the_files_content_without_outer_white_space(tmp_path: Path, content: str) -> None:
    (tmp_path / "SOME_KEY").write_text(content)
    os.utime(tmp_path / "SOME_KEY", (1000, 2000))
    assert read_secret(tmp_path, "SOME_KEY") == Found(KEY, 2000.0)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "empty"),
        (b" \n\n", "empty"),
        (bytes(range(256)), "not hold a valid key"),
        (b"\xff\xfe" + KEY.encode("utf-16-le"), "not hold a valid key"),
        (f"{KEY}\n{KEY}\n".encode(), "not hold a valid key"),
        ("ключ".encode(), "not hold a valid key"),
        (b"k" * 16 * 1024 + b"k", "longer than 16 KiB"),
    ],
)
def test_a6_an_invalid_key_is_reported_without_repeating_it(tmp_path: Path, content: bytes, why: str) -> None:
    (tmp_path / "SOME_KEY").write_bytes(content)
    read = read_secret(tmp_path, "SOME_KEY")
    assert isinstance(read, Unusable)
    assert why in read.why
    assert KEY not in read.why


def test_a6_a_missing_file_is_not_an_error(tmp_path: Path) -> None:
    assert read_secret(tmp_path, "SOME_KEY") is None
    (tmp_path / "SOME_KEY").symlink_to(tmp_path / "nowhere")
    assert read_secret(tmp_path, "SOME_KEY") is None


def test_a6_an_unreadable_file_is_reported(tmp_path: Path) -> None:
    (tmp_path / "A_FOLDER").mkdir()
    os.mkfifo(tmp_path / "A_PIPE")
    (tmp_path / "A_LOOP").symlink_to(tmp_path / "A_LOOP")
    (tmp_path / "A_FILE").write_text(KEY)
    for name in ("A_FOLDER", "A_PIPE"):
        assert read_secret(tmp_path, name) == Unusable("is not a plain file")
    for name in ("A_LOOP", "A_FILE/deeper"):
        read = read_secret(tmp_path, name)
        assert isinstance(read, Unusable)
        assert read.why.startswith("cannot be read: ")


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is unreadable for root")
def test_a6_a_file_without_permission_is_reported(tmp_path: Path) -> None:
    (tmp_path / "SOME_KEY").write_text(KEY)
    (tmp_path / "SOME_KEY").chmod(0)
    assert read_secret(tmp_path, "SOME_KEY") == Unusable("cannot be read: permission denied")


def test_a6_links_are_followed_as_kubernetes_swaps_them(tmp_path: Path) -> None:
    for version in ("one", "two"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "SOME_KEY").write_text(f"key-{version}")
    (tmp_path / "..data").symlink_to("one")
    (tmp_path / "SOME_KEY").symlink_to("..data/SOME_KEY")
    first = read_secret(tmp_path, "SOME_KEY")
    (tmp_path / "..data_tmp").symlink_to("two")
    (tmp_path / "..data_tmp").rename(tmp_path / "..data")
    second = read_secret(tmp_path, "SOME_KEY")
    assert isinstance(first, Found)
    assert isinstance(second, Found)
    assert (first.value, second.value) == ("key-one", "key-two")


def test_a6_the_repr_of_a_found_key_hides_it() -> None:
    assert KEY not in repr(Found(KEY, 1.0))
    assert KEY not in f"{[Found(KEY, 1.0)]}"


def test_a6_a_file_takes_precedence_over_the_variable_of_its_name(tmp_path: Path) -> None:
    (tmp_path / "A_KEY").write_text("from-file")
    (tmp_path / "B_KEY").write_text("")
    env = {"A_KEY": "from-env", "B_KEY": "kept", "C_KEY": "env-only", "D_KEY": ""}
    names = ("A_KEY", "B_KEY", "C_KEY", "D_KEY", "E_KEY")
    expected = {"A_KEY": "from-file", "B_KEY": "kept", "C_KEY": "env-only"}
    assert effective_keys(names, str(tmp_path), env) == expected
    assert effective_keys(names, None, env) == {**expected, "A_KEY": "from-env"}


def test_a6_the_day_of_a_key_is_read_from_the_environment() -> None:
    env = {"A_KEY_CREATED": "1970-01-02", "B_KEY_CREATED": "", "OTHER_CREATED": "never"}
    assert key_dates(("A_KEY", "B_KEY", "C_KEY", "A_KEY"), env) == {"A_KEY": 86_400.0}


def test_a6_every_invalid_date_is_reported_and_not_repeated() -> None:
    env = {"A_KEY_CREATED": "2026-02-30", "B_KEY_CREATED": KEY, "C_KEY_CREATED": "20260101"}
    with pytest.raises(ConfigurationRefused) as caught:
        key_dates(("A_KEY", "B_KEY", "C_KEY"), env)
    assert [problem.key for problem in caught.value.problems] == list(env)
    assert KEY not in str(caught.value)
    assert "Fix: write the day" in str(caught.value)
