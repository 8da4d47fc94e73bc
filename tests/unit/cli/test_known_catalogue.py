import os

import pytest

from penstock.cli.__main__ import main
from penstock.cli.errors import CommandError
from penstock.cli.known_catalogue import check_has_retrieval
from penstock.runtime.runtime_file import RuntimeFile, write_runtime_file
from tests.harness.processes.catalogues import catalogue


@pytest.fixture
def running(tmp_path, monkeypatch):
    """A `penstock up` whose catalogue has the given sections."""
    monkeypatch.delenv("NATS_URL", raising=False)

    def write(**sections):
        file = tmp_path / "mine.yaml"
        file.write_text(catalogue(**sections))
        runtime_file = RuntimeFile(
            nats_url="nats://127.0.0.1:1",
            embedded=True,
            pid=os.getpid(),
            services={},
            catalogue=str(file),
            simulator="http://127.0.0.1:1",
        )
        write_runtime_file(tmp_path, runtime_file)
        return tmp_path

    return write


def test_m4_a_catalogue_without_the_section_is_named_as_the_cause(running):
    with pytest.raises(
        CommandError, match=r"cannot be searched: the catalogue .* has no section retrieval; add"
    ):
        check_has_retrieval(running(), "documents cannot be searched")


def test_m4_the_catalogue_of_another_system_is_not_known(running, monkeypatch, tmp_path):
    check_has_retrieval(tmp_path, "documents cannot be searched")
    data = running()
    monkeypatch.setenv("NATS_URL", "nats://127.0.0.1:2")
    check_has_retrieval(data, "documents cannot be searched")


@pytest.mark.parametrize(
    "line",
    ["collections list", "memory list --user ann", "search text --collection a", "index . --collection a"],
)
def test_m4_a_command_about_documents_names_the_section_that_it_needs(running, capsys, line):
    data = running()

    assert main([*line.split(), "--data", str(data)]) == 1

    said = capsys.readouterr().err
    assert f"`penstock {line.split()[0]}` cannot be served: the catalogue" in said
    assert "has no section retrieval; add `retrieval: {}`" in said
    assert "penstock run" not in said
