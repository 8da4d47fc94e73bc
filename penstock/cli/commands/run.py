"""`penstock run`: one service in this process."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from penstock.cli.local.python_child import code_path, service_argv

__all__ = ["run"]


def run(service: str, arguments: Sequence[str]) -> NoReturn:
    """Become that service: signals and exit code are its own from here on."""
    argv = service_argv(service, *arguments)
    sys.stdout.flush()
    os.execve(argv[0], argv, {**os.environ, **code_path(os.environ)})  # noqa: S606 - no shell is wanted
