"""How a service is started: the same interpreter, the same code, wherever the person stands."""

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
    """`-P` because a folder named `services` in the current directory must not be taken for ours."""
    return (sys.executable, "-P", "-m", f"services.{service}", *arguments)


def code_path(env: Mapping[str, str]) -> dict[str, str]:
    """What a child's environment needs to find the code that runs here; nothing when it is installed."""
    if Path(sysconfig.get_path("purelib")).resolve() == _CODE:
        return {}
    earlier = env.get("PYTHONPATH")
    return {"PYTHONPATH": f"{_CODE}{os.pathsep}{earlier}" if earlier else str(_CODE)}
