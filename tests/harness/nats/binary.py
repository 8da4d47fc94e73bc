"""Skip or fail tests for which there is no nats-server binary."""

from __future__ import annotations

import os

import pytest

from penstock.cli.errors import LaunchError
from penstock.cli.local.nats_server import find_nats_server

__all__ = ["require_nats_server"]


def require_nats_server() -> None:
    """Skip the test on a machine without the binary; in CI, fail it."""
    try:
        find_nats_server()
    except LaunchError as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))
