"""What a test does without that it cannot have: a nats-server."""

from __future__ import annotations

import os

import pytest

from penstock.cli.errors import LaunchError
from penstock.cli.local.nats_server import find_nats_server

__all__ = ["require_nats_server"]


def require_nats_server() -> None:
    """Skip the test at a desk without the binary; in CI that is a broken build, and the test fails."""
    try:
        find_nats_server()
    except LaunchError as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))
