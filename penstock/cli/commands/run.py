"""`penstock run`: replace this process by one service."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from penstock.cli.local.python_child import code_path, service_argv

__all__ = ["run"]


def run(service: str, arguments: Sequence[str]) -> NoReturn:
    """Replace this process by the service, which then handles signals and sets the exit code."""
    argv = service_argv(service, *arguments)
    sys.stdout.flush()
    os.execve(argv[0], argv, {**os.environ, **code_path(os.environ)})  # noqa: S606 - runs without a shell
