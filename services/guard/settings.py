"""What the guard reads from its environment beside the settings of every service."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from penstock.runtime.config.catalogue import Catalogue
from penstock.runtime.config.problems import ConfigurationRefused, Problem
from penstock.runtime.config.secrets import effective_keys
from penstock.runtime.config.settings import SOURCE, Settings

__all__ = ["cache_directory", "moderation_key"]

_NAME: Final = "penstock-guard"


def cache_directory(env: Mapping[str, str]) -> Path:
    """`penstock-guard` in XDG_CACHE_HOME, else in `~/.cache`, else in the directory for temporary files.

    It is one that this user owns and no other user can write to, because compiled rules are trusted. It may be
    read-only, as in an image. Where there is none, it is new and used by this process alone.
    """
    homes = [env.get("XDG_CACHE_HOME"), env.get("HOME") and f"{env['HOME']}/.cache", tempfile.gettempdir()]
    for home in filter(None, homes):
        directory = Path(home, _NAME)
        if home == tempfile.gettempdir():
            directory = directory.with_name(f"{_NAME}-{os.getuid()}")
        if _is_own(directory):
            return directory
    return Path(tempfile.mkdtemp(prefix=f"{_NAME}-"))


def moderation_key(catalogue: Catalogue, settings: Settings, env: Mapping[str, str]) -> str | None:
    """The key of the moderation endpoint; None if that is not enabled. Raises ConfigurationRefused if it is missing."""
    if catalogue.guard is None or not catalogue.guard.detectors.openai_moderation.enabled:
        return None
    name = catalogue.guard.detectors.openai_moderation.api_key_env
    key = effective_keys([name], settings.secrets_dir, env).get(name)
    if key is None:
        fix = "set it, or remove `enabled` from guard.detectors.openai_moderation"
        raise ConfigurationRefused(
            SOURCE, [Problem(key=name, problem="is not set, and the moderation endpoint needs it", fix=fix)]
        )
    return key


def _is_own(directory: Path) -> bool:
    """Create the directory if it is missing."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = directory.lstat()
    except OSError:
        return False
    others_write = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return stat.S_ISDIR(found.st_mode) and found.st_uid in {os.getuid(), 0} and not others_write
