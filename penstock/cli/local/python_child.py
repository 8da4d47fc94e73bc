"""The command and environment of a service process: this interpreter and this code, in any working directory."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path

__all__ = ["SERVICES", "code_path", "service_argv"]

SERVICES = ("router", "worker", "simulator")

_CODE = Path(__file__).resolve().parents[3]


def service_argv(service: str, *arguments: str) -> tuple[str, ...]:
    """`-P` keeps a folder named `services` in the working directory from being imported instead."""
    return (sys.executable, "-P", "-m", f"services.{service}", *arguments)


def code_path(env: Mapping[str, str]) -> dict[str, str]:
    """The variables with which a child finds this code; empty when the package is installed."""
    if Path(sysconfig.get_path("purelib")).resolve() == _CODE:
        return {}
    earlier = env.get("PYTHONPATH")
    return {"PYTHONPATH": f"{_CODE}{os.pathsep}{earlier}" if earlier else str(_CODE)}
