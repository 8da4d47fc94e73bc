"""The rows of a module, run once in a system of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fault.worker.providers.rows.table import Outcome, run_rows


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data directory of the system."""
    return tmp_path_factory.mktemp("rows")


@pytest.fixture(scope="module")
def outcomes(request: pytest.FixtureRequest, directory: Path) -> Iterator[dict[str, Outcome]]:
    """The outcomes of the module's TABLE, by the ids of `row_ids`."""
    with run_rows(request.module.TABLE, directory) as done:
        yield done
