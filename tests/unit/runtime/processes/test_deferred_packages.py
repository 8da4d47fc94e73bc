"""K7: packages of an SDK that are run at their first use."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from penstock.runtime.processes.deferred_packages import defer_packages


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unique_package: str) -> str:
    """A package with the module `part` and the package `types`; both `__init__` say that they ran."""
    types = tmp_path / unique_package / "types"
    types.mkdir(parents=True)
    (types.parent / "__init__.py").write_text("from . import types\nfrom .part import ONE\nRAN = True\n")
    (types.parent / "part.py").write_text("from .types.small import SMALL\nONE = SMALL\n")
    (types / "__init__.py").write_text("from .large import LARGE\nRAN = True\n")
    (types / "small.py").write_text("SMALL = 1\n")
    (types / "large.py").write_text("LARGE = 2\n")
    monkeypatch.syspath_prepend(tmp_path)
    return unique_package


@pytest.fixture
def unique_package(request: pytest.FixtureRequest):
    name = f"deferred_{request.node.name.replace('[', '_').replace(']', '')}"
    yield name
    for module in [each for each in sys.modules if each.partition(".")[0] == name]:
        del sys.modules[module]


def test_k7_the_init_of_a_deferred_package_does_not_run_for_its_modules(package: str):
    defer_packages(package, f"{package}.types")
    imported = importlib.import_module(package)
    assert imported.ONE == 1  # runs the `__init__` of the package, which imports `types`
    assert imported.RAN
    assert "RAN" not in vars(imported.types)
    assert f"{package}.types.large" not in sys.modules


def test_k7_a_name_of_the_package_runs_its_init_once(package: str):
    defer_packages(package, f"{package}.types")
    types = importlib.import_module(f"{package}.types")
    assert types.LARGE == 2
    assert types.RAN
    assert type(types).__name__ == "module"
    with pytest.raises(AttributeError, match="absent"):
        _ = types.absent


def test_k7_an_imported_and_a_missing_package_are_left_alone(package: str):
    imported = importlib.import_module(package)
    defer_packages(package, "deferred_and_missing")
    assert sys.modules[package] is imported
    assert "deferred_and_missing" not in sys.modules
