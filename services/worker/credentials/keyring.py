"""The current key of each credential, with its source and age (A6)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct

from penstock.contract.names import Role
from penstock.runtime.config.catalogue import Catalogue
from penstock.runtime.config.secrets import Found, SecretFile, check_secrets_dir, key_dates, read_secret
from penstock.runtime.config.settings import Settings

__all__ = [
    "InvalidKeyFile",
    "Keyring",
    "OverdueKey",
    "RotatedKey",
    "keys_by_provider",
    "open_keyring",
    "read_files",
]

_DAY_S: Final = 86_400.0


class RotatedKey(Struct, frozen=True):
    """A credential has a new key, or its first."""

    credential: str


class InvalidKeyFile(Struct, frozen=True):
    """A secret file without a valid key; reported once per reason."""

    credential: str
    why: str


class OverdueKey(Struct, frozen=True):
    """A key older than the maximum age; reported once per key."""

    credential: str
    age_days: int


class _Key(Struct):
    value: str | None = None
    since_s: float | None = None
    """Unix seconds; None: unknown."""
    from_file: bool = False
    unconfirmed: Found | None = None
    """New content of the file, to be confirmed by the next reading."""
    error: str = ""
    reported_old: bool = False

    def __repr__(self) -> str:
        """Leaves out the key, which must not be logged."""
        return f"_Key(…, since_s={self.since_s}, from_file={self.from_file})"


class Keyring:
    """Keys from the environment and from files; files take precedence. A missing or invalid file keeps the last valid
    key.

    New content is accepted after two consecutive readings agree, because a file that is rewritten in place can be read
    half-written.
    """

    def __init__(
        self,
        names: Iterable[str],
        env: Mapping[str, str],
        created_s: Mapping[str, float],
        readings: Mapping[str, SecretFile],
        max_age_days: float,
    ) -> None:
        """`created_s`: configured creation times of keys, in Unix seconds. They apply to the first key, also to one
        from a file, whose modification time is often later. `readings`: the first readings of the files, accepted
        without confirmation; empty if no files are used.
        """
        self.max_age_days = max_age_days
        self.may_come_later = bool(readings)
        """Whether a credential without a key may still get one."""
        self._created_s = created_s
        self._keys = {
            name: _Key(env[name], created_s.get(name)) if env.get(name) else _Key()
            for name in dict.fromkeys(names)
        }
        self.initial_invalid_files: list[InvalidKeyFile] = []
        for name, reading in readings.items():
            if isinstance(reading, Found):
                self._take_first(name, reading)
            elif reading is not None:
                self.initial_invalid_files += self._report_invalid(name, reading.why)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._keys)

    @property
    def awaits_confirmation(self) -> bool:
        """Whether new content awaits confirmation by a second reading."""
        return any(key.unconfirmed is not None for key in self._keys.values())

    def value(self, credential: str) -> str | None:
        return self._keys[credential].value

    def file_error(self, credential: str) -> str:
        """Why its file is invalid; empty if it is not."""
        return self._keys[credential].error

    def age_days(self, credential: str, now_s: float) -> int | None:
        """Whole days at `now_s` (Unix); None if the creation time is unknown."""
        since_s = self._keys[credential].since_s
        return None if since_s is None else max(0, int((now_s - since_s) / _DAY_S))

    def update(self, readings: Mapping[str, SecretFile]) -> list[RotatedKey | InvalidKeyFile]:
        """Apply new readings of the files; returns what changed."""
        changes: list[RotatedKey | InvalidKeyFile] = []
        for name, reading in readings.items():
            key = self._keys[name]
            if isinstance(reading, Found):
                key.error = ""
                changes += self._found(name, key, reading)
                continue
            key.unconfirmed = None
            if reading is not None:
                changes += self._report_invalid(name, reading.why)
            elif key.from_file:
                changes += self._report_invalid(name, "is gone")
            else:
                key.error = ""
        return changes

    def newly_overdue(self, now_s: float) -> list[OverdueKey]:
        """Keys that exceeded the maximum age since the last call."""
        found = []
        for name, key in self._keys.items():
            age_days = self.age_days(name, now_s)
            if age_days is not None and age_days > self.max_age_days and not key.reported_old:
                key.reported_old = True
                found.append(OverdueKey(name, age_days))
        return found

    def _found(self, name: str, key: _Key, reading: Found) -> list[RotatedKey | InvalidKeyFile]:
        if reading.value == key.value:
            # Rewriting the file with the same key does not reset the age of the key.
            if key.since_s is None:
                key.since_s = reading.changed_s
            key.from_file, key.unconfirmed = True, None
            return []
        if reading != key.unconfirmed:
            key.unconfirmed = reading
            return []
        if key.value is None:
            self._take_first(name, reading)
        else:
            self._take(key, reading)
        return [RotatedKey(name)]

    def _take_first(self, name: str, reading: Found) -> None:
        """Accept the first key; it was not rotated during this process, so the configured creation time applies."""
        key = self._keys[name]
        self._take(key, reading)
        key.since_s = self._created_s.get(name, reading.changed_s)

    @staticmethod
    def _take(key: _Key, reading: Found) -> None:
        key.value, key.since_s, key.from_file = reading.value, reading.changed_s, True
        key.unconfirmed, key.reported_old = None, False

    def _report_invalid(self, name: str, why: str) -> list[InvalidKeyFile]:
        key = self._keys[name]
        if key.error == why:
            return []
        key.error = why
        return [InvalidKeyFile(name, why)]


def _providers_of(catalogue: Catalogue, roles: Iterable[Role]) -> list[str]:
    """The providers of the models in the chains of these roles."""
    models = dict.fromkeys(model for role in roles for model in catalogue.all_roles[role].chain)
    return list(dict.fromkeys(catalogue.models[model].provider for model in models))


def keys_by_provider(
    catalogue: Catalogue, roles: Iterable[Role], keyring: Keyring
) -> dict[str, dict[str, str | None]]:
    """Keys by credential, for each provider of these roles; None for a credential whose key may come later. An endpoint
    without authentication has one credential with the name of the provider.
    """
    found: dict[str, dict[str, str | None]] = {}
    for name in _providers_of(catalogue, roles):
        variables = catalogue.providers[name].api_key_env
        keys = {variable: keyring.value(variable) for variable in variables} if variables else {name: "none"}
        found[name] = {
            variable: key for variable, key in keys.items() if key is not None or keyring.may_come_later
        }
    return found


def open_keyring(
    catalogue: Catalogue, roles: Sequence[Role], settings: Settings, env: Mapping[str, str]
) -> Keyring:
    """The keys of the providers that these roles use; raises ConfigurationRefused for an unreadable directory of
    secrets and for an invalid date.
    """
    check_secrets_dir(settings.secrets_dir)
    names = [
        name
        for provider in _providers_of(catalogue, roles)
        for name in catalogue.providers[provider].api_key_env
    ]
    readings = read_files(names, settings.secrets_dir)
    return Keyring(names, env, key_dates(names, env), readings, settings.key_max_age_days)


def read_files(names: Sequence[str], directory: str | None) -> dict[str, SecretFile]:
    """The current content of each file; empty without a directory of secrets."""
    if directory is None:
        return {}
    return {name: read_secret(Path(directory), name) for name in names}
