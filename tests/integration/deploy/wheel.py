"""Penstock's wheel, built as deploy/Dockerfile builds it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.contract.compose import ROOT

__all__ = ["PIP", "build_wheel"]

PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")
_COPY = re.compile(r"^COPY (?!--)(.+) (\S+)$", re.MULTILINE)


def build_wheel(directory: Path) -> Path:
    """The wheel of the files that the Dockerfile copies; both are in `directory`."""
    context = directory / "src"
    for sources, _ in _COPY.findall((ROOT / "deploy/Dockerfile").read_text()):
        for source in sources.split():
            (context / source).parent.mkdir(parents=True, exist_ok=True)
            copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copy
            copy(ROOT / source, context / source)
    building = ["wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", directory, context]
    subprocess.run([*PIP, *building], check=True)
    (wheel,) = directory.glob("*.whl")
    return wheel
