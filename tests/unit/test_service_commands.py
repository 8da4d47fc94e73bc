"""The command lines of the services: `--help` prints the usage, an unknown option exits 2."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import services.edge.__main__
import services.encoder.__main__
import services.guard.__main__
import services.indexer.__main__
import services.ledger.__main__
import services.router.__main__
import services.simulator.__main__
import services.worker.__main__
from penstock.runtime.runtime_file import DEFAULT_DATA, RuntimeFile, write_runtime_file

SERVICES = {
    "router": services.router.__main__.main,
    "edge": services.edge.__main__.main,
    "encoder": services.encoder.__main__.main,
    "guard": services.guard.__main__.main,
    "ledger": services.ledger.__main__.main,
    "worker": services.worker.__main__.main,
    "simulator": services.simulator.__main__.main,
}
JOINING = {
    **{name: SERVICES[name] for name in ("router", "edge", "guard", "ledger")},
    "indexer": services.indexer.__main__.main,
}


@pytest.mark.parametrize(("service", "main"), SERVICES.items(), ids=SERVICES)
def test_d10_help_prints_the_usage_and_starts_nothing(
    service: str, main: Callable[[list[str]], int], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--help"])

    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: penstock run {service} [-h]")


@pytest.mark.parametrize(("service", "main"), SERVICES.items(), ids=SERVICES)
def test_d10_an_unknown_option_prints_the_usage_and_exits_2(
    service: str, main: Callable[[list[str]], int], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--foo"])

    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert f"usage: penstock run {service}" in error
    assert "--foo" in error


@pytest.mark.parametrize(
    ("role", "expected"),
    [("nosuch", "has no role nosuch; there are:")],
)
def test_d10_a_worker_for_a_role_that_no_worker_can_serve_says_why(
    role: str, expected: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PENSTOCK_CATALOGUE", "simulator")
    assert services.worker.__main__.main(["--role", role]) == 2
    assert expected in capsys.readouterr().err


@pytest.mark.parametrize(("service", "main"), JOINING.items(), ids=JOINING)
def test_a_service_joins_the_system_of_its_directory_and_says_so(
    service: str,
    main: Callable[[list[str]], int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("NATS_URL", "PENSTOCK_CATALOGUE"):
        monkeypatch.delenv(name, raising=False)
    DEFAULT_DATA.mkdir()
    running = RuntimeFile(nats_url="nats://127.0.0.1:4999", embedded=True, pid=1, catalogue="/missing.yaml")
    write_runtime_file(DEFAULT_DATA, running)

    assert main([]) == 2

    said, refused = capsys.readouterr().err.split("\n", 1)
    found = "NATS_URL=nats://127.0.0.1:4999 PENSTOCK_CATALOGUE=/missing.yaml"
    assert said == f"using the system that runs in .penstock: {found}"
    assert "/missing.yaml" in refused
