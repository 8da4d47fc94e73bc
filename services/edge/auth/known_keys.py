"""The API keys that this process knows."""

from __future__ import annotations

from collections.abc import Iterable

from penstock.contract.keys import ApiKey

__all__ = ["KnownKeys"]


class KnownKeys:
    """The latest keys that were read; they stay valid while the bucket cannot be read."""

    def __init__(self) -> None:
        self._keys: dict[str, ApiKey] | None = None
        self.are_required = False
        """A key existed once. It stays required, also after the bucket was deleted."""

    @property
    def are_read(self) -> bool:
        """Whether the bucket was ever read."""
        return self._keys is not None

    def replace(self, keys: Iterable[ApiKey]) -> None:
        """The bucket was read: these are all keys."""
        self._keys = {key.prefix: key for key in keys}
        self.are_required = self.are_required or bool(self._keys)

    def find(self, prefix: str) -> ApiKey | None:
        return None if self._keys is None else self._keys.get(prefix)
