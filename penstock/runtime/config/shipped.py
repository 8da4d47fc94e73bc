"""The catalogues and presets that ship with Penstock.

They are in deploy/catalogues/ of a checkout, an editable install and an image that copies the repository; a wheel
installs them in the environment's data folder.
"""

from __future__ import annotations

import sysconfig
from collections.abc import Mapping
from functools import cache
from pathlib import Path

__all__ = ["default_catalogue", "shipped_catalogues", "shipped_folder", "shipped_presets"]

_CHECKOUT = Path(__file__).resolve().parents[3] / "deploy" / "catalogues"
_SUFFIX = ".yaml"


def shipped_catalogues() -> dict[str, Path]:
    """Name (`groq`) -> file; empty if neither a checkout nor an installed wheel is found."""
    return _files(shipped_folder())


@cache
def shipped_presets() -> dict[str, Path]:
    """The same for the presets of providers."""
    return _files(shipped_folder() / "presets")


def shipped_folder() -> Path:
    """Where they are, or would be installed."""
    installed = Path(sysconfig.get_path("data")) / "share" / "penstock" / "catalogues"
    return _CHECKOUT if _CHECKOUT.is_dir() else installed


def _files(folder: Path) -> dict[str, Path]:
    return {file.name.removesuffix(_SUFFIX): file for file in sorted(folder.glob(f"*{_SUFFIX}"))}


def default_catalogue(env: Mapping[str, str]) -> str:
    """The name or path used by default: PENSTOCK_CATALOGUE, else the catalogue whose key is set."""
    if env.get("PENSTOCK_CATALOGUE"):
        return env["PENSTOCK_CATALOGUE"]
    if env.get("GROQ_API_KEY"):
        return "groq"
    if env.get("OPENAI_API_KEY"):
        return "openai"
    return "simulator"
