"""Keys of providers: from files as Docker and Kubernetes mount them, or from the environment (A6)."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from msgspec import Struct

from penstock.runtime.config.problems import ConfigurationRefused, Problem, ProblemReport

__all__ = [
    "Found",
    "SecretFile",
    "Unusable",
    "check_key_name",
    "check_secrets_dir",
    "effective_keys",
    "key_dates",
    "read_secret",
]

_MOST_BYTES: Final = 16 * 1024
_KEY: Final = re.compile(rb"[!-~]+")
"""The characters of a key: printable ASCII without spaces, as an HTTP header can carry."""
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_KEY_PREFIXES: Final = ("sk-", "sk_", "gsk_")
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}")


class Found(Struct, frozen=True):
    """The content of a file without surrounding white space, and the time of its last change (Unix seconds)."""

    value: str
    changed_s: float

    def __repr__(self) -> str:
        """Hide the key, so that it does not reach a log."""
        return f"Found(…, changed_s={self.changed_s})"


class Unusable(Struct, frozen=True):
    """The file holds no usable key."""

    why: str
    """The end of a sentence that begins with the name of the file."""


SecretFile = Found | Unusable | None
"""None: the file does not exist."""


def read_secret(directory: Path, name: str) -> SecretFile:
    """Read the file `name` of the directory, following symbolic links; never blocks on a pipe."""
    try:
        handle = os.open(directory / name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        return Unusable(f"cannot be read: {_reason(error)}")
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            return Unusable("is not a plain file")
        with open(handle, "rb", closefd=False) as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        return Unusable(f"cannot be read: {_reason(error)}")
    finally:
        os.close(handle)
    return _read(content, found.st_mtime)


def effective_keys(names: Iterable[str], directory: str | None, env: Mapping[str, str]) -> dict[str, str]:
    """The value of each key at the start: from its file, else from its variable; keys with neither are left out."""
    found = {}
    for name in names:
        reading = None if directory is None else read_secret(Path(directory), name)
        value = reading.value if isinstance(reading, Found) else env.get(name)
        if value:
            found[name] = value
    return found


def check_key_name(name: object, path: str, report: ProblemReport) -> None:
    """Report a name of a key that no environment variable can have, or that may be a key itself."""
    if isinstance(name, str) and (name.startswith(_KEY_PREFIXES) or not _VARIABLE.fullmatch(name)):
        problem = (
            "is not the name of an environment variable (if it is a key, it is now in a file: revoke it)"
        )
        report.add(path, problem, "write a name such as GROQ_API_KEY", quote=False)


def check_secrets_dir(directory: str | None) -> None:
    """Raise ConfigurationRefused for a directory of secrets that is missing or cannot be read; None is valid.

    A forgotten mount is reported as such, and not as missing keys.
    """
    if directory is None or (os.access(directory, os.R_OK | os.X_OK) and Path(directory).is_dir()):
        return
    if not Path(directory).exists():
        problem, fix = "names a directory that does not exist", "mount it there, or leave the variable out"
    elif not Path(directory).is_dir():
        problem, fix = "names a file and not a directory", "name the directory that holds one file per key"
    else:
        problem, fix = (
            "names a directory that cannot be read",
            "give this user the right to read and enter it",
        )
    raise ConfigurationRefused(
        "environment", [Problem(key="PENSTOCK_SECRETS_DIR", value=f'"{directory}"', problem=problem, fix=fix)]
    )


def _read(content: bytes, changed_s: float) -> Found | Unusable:
    if len(content) > _MOST_BYTES:
        return Unusable(f"is longer than {_MOST_BYTES // 1024} KiB")
    value = content.strip()
    if not value:
        return Unusable("is empty")
    if not _KEY.fullmatch(value):
        return Unusable("does not hold a valid key")
    return Found(value.decode("ascii"), changed_s)


def _reason(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()


def key_dates(names: Iterable[str], env: Mapping[str, str]) -> dict[str, float]:
    """The creation day of each key that has a `<NAME>_CREATED=2026-08-01` in the environment, as Unix seconds.

    Raises ConfigurationRefused with every invalid date.
    """
    found: dict[str, float] = {}
    problems = []
    for name in dict.fromkeys(names):
        variable = f"{name}_CREATED"
        text = env.get(variable)
        if not text:
            continue
        day = _day(text)
        if day is None:
            # The value is not quoted: it may be the key itself by mistake.
            fix = "write the day on which the key was created, such as 2026-08-01"
            problems.append(Problem(key=variable, problem="is not a date", fix=fix))
        else:
            found[name] = day.timestamp()
    if problems:
        raise ConfigurationRefused("environment", problems)
    return found


def _day(text: str) -> datetime | None:
    if not _DATE.fullmatch(text):
        return None
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC)
    except ValueError:
        return None
