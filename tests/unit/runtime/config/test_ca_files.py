"""K6: a `ca_file` that cannot be used is reported when the catalogue is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.cli.commands.config import check
from penstock.runtime.config.load import load_catalogue
from penstock.runtime.config.problems import ConfigurationRefused
from tests.unit.runtime.config.example import RIGHT

ADDRESS = "base_url: https://here.example/v1"
FILE = "authorities/ours.pem"
TEXT = RIGHT.replace(ADDRESS, f"{ADDRESS}\n    ca_file: {FILE}")
DER = b"\x30\x82\x01\x0a\x02\x82\x01\x01"
KEY = b"-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIA==\n-----END PRIVATE KEY-----\n"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "cannot be read: no such file or directory"),
        (b"", "holds no certificate in PEM format"),
        (b"no certificate", "holds no certificate in PEM format"),
        (DER, "holds no certificate in PEM format"),
        (KEY, "holds no certificate in PEM format"),
        ("directory", "is not a file"),
    ],
    ids=["missing", "empty", "text", "DER", "a key", "directory"],
)
def test_k6_a_ca_file_that_cannot_be_used_is_reported_with_path_and_reason(
    content: bytes | str | None, reason: str, tmp_path: Path
):
    file = tmp_path / FILE
    file.parent.mkdir()
    if content == "directory":
        file.mkdir()
    elif isinstance(content, bytes):
        file.write_bytes(content)

    with pytest.raises(ConfigurationRefused) as caught:
        load_catalogue(TEXT, source=str(tmp_path / "mine.yaml"), env={})

    (problem,) = caught.value.problems
    assert (problem.line, problem.key, problem.value) == (5, "providers.here.ca_file", f'"{FILE}"')
    assert problem.problem == f"{file} {reason}"
    assert problem.fix == "name a PEM file with the certificate of the authority"


def test_k6_config_check_reports_a_missing_ca_file_with_every_other_mistake(tmp_path: Path, capsys):
    mine = tmp_path / "mine.yaml"
    mine.write_text(TEXT.replace("chain: [large, small]", "chain: [large, smal]"))

    assert check(mine, {}) == 1

    reported = capsys.readouterr().err
    assert f'mine.yaml:5: providers.here.ca_file = "{FILE}": {tmp_path / FILE} cannot be read' in reported
    assert "roles.chat.chain[1]" in reported
    assert "2 mistakes." in reported
