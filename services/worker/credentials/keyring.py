"""Which key each credential has now, whence, and since when (REQUIREMENTS A6)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from msgspec import Struct

from penstock.runtime.config.secrets import Found, SecretFile

__all__ = ["Complaint", "Keyring", "Old", "Rotated"]

_DAY_S: Final = 86_400.0


class Rotated(Struct, frozen=True):
    """A credential has a new key, or its first."""

    credential: str


class Complaint(Struct, frozen=True):
    """A file that should hold a key does not: told once for each reason."""

    credential: str
    why: str


class Old(Struct, frozen=True):
    """A key has become older than it should: told once for each key."""

    credential: str
    age_days: int


class _Key(Struct):
    value: str | None = None
    since_s: float | None = None
    """Unix seconds; None: nobody said."""
    from_file: bool = False
    settling: Found | None = None
    """What its file held at the last look, if that is new."""
    complaint: str = ""
    told_old: bool = False

    def __repr__(self) -> str:
        """A key must not come into a log by way of its container."""
        return f"_Key(…, since_s={self.since_s}, from_file={self.from_file})"


class Keyring:
    """From the environment, and from files, which win. A file that is gone or no use leaves the last good key.

    A new content is taken when two looks in a row have found it: whoever writes into the file itself, as rotating a
    file that is mounted by itself takes, can be caught halfway.
    """

    def __init__(
        self,
        names: Iterable[str],
        env: Mapping[str, str],
        created_s: Mapping[str, float],
        readings: Mapping[str, SecretFile],
        max_age_days: float,
    ) -> None:
        """`created_s`: since when each key is in use, where somebody said so. It goes for the first key, in a file too:
        that is often younger than the key in it. `readings`: a first look at the files, which is believed at once;
        empty where no files are looked at.
        """
        self.max_age_days = max_age_days
        self.may_come_later = bool(readings)
        """Whether a credential without a key may get one yet."""
        self._created_s = created_s
        self._keys = {
            name: _Key(env[name], created_s.get(name)) if env.get(name) else _Key()
            for name in dict.fromkeys(names)
        }
        self.first_complaints: list[Complaint] = []
        for name, reading in readings.items():
            if isinstance(reading, Found):
                self._take_first(name, reading)
            elif reading is not None:
                self.first_complaints += self._complain(name, reading.why)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._keys)

    @property
    def unsettled(self) -> bool:
        """Whether a second look should follow soon."""
        return any(key.settling is not None for key in self._keys.values())

    def value(self, credential: str) -> str | None:
        return self._keys[credential].value

    def complaint(self, credential: str) -> str:
        """What is wrong with its file now; empty: nothing."""
        return self._keys[credential].complaint

    def age_days(self, credential: str, now_s: float) -> int | None:
        """Whole days at `now_s` (Unix); None where nobody said since when."""
        since_s = self._keys[credential].since_s
        return None if since_s is None else max(0, int((now_s - since_s) / _DAY_S))

    def look(self, readings: Mapping[str, SecretFile]) -> list[Rotated | Complaint]:
        """Take in what the files hold now."""
        news: list[Rotated | Complaint] = []
        for name, reading in readings.items():
            key = self._keys[name]
            if isinstance(reading, Found):
                key.complaint = ""
                news += self._found(name, key, reading)
                continue
            key.settling = None
            if reading is not None:
                news += self._complain(name, reading.why)
            elif key.from_file:
                news += self._complain(name, "is gone")
            else:
                key.complaint = ""
        return news

    def newly_old(self, now_s: float) -> list[Old]:
        """Keys that are older than they should be, and were not when this was last asked."""
        found = []
        for name, key in self._keys.items():
            age_days = self.age_days(name, now_s)
            if age_days is not None and age_days > self.max_age_days and not key.told_old:
                key.told_old = True
                found.append(Old(name, age_days))
        return found

    def _found(self, name: str, key: _Key, reading: Found) -> list[Rotated | Complaint]:
        if reading.value == key.value:
            # A file that was written anew with the same key has made it no younger.
            if key.since_s is None:
                key.since_s = reading.changed_s
            key.from_file, key.settling = True, None
            return []
        if reading != key.settling:
            key.settling = reading
            return []
        if key.value is None:
            self._take_first(name, reading)
        else:
            self._take(key, reading)
        return [Rotated(name)]

    def _take_first(self, name: str, reading: Found) -> None:
        """Nothing was rotated while this process lived, so what was said of the key's age goes for it."""
        key = self._keys[name]
        self._take(key, reading)
        key.since_s = self._created_s.get(name, reading.changed_s)

    @staticmethod
    def _take(key: _Key, reading: Found) -> None:
        key.value, key.since_s, key.from_file = reading.value, reading.changed_s, True
        key.settling, key.told_old = None, False

    def _complain(self, name: str, why: str) -> list[Complaint]:
        key = self._keys[name]
        if key.complaint == why:
            return []
        key.complaint = why
        return [Complaint(name, why)]
