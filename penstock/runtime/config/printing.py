"""The effective configuration as a person may see it: every default filled in, every secret masked."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import msgspec
import yaml

from penstock.bus.masking import masked_key, without_userinfo
from penstock.runtime.config.catalogue import Catalogue
from penstock.runtime.config.secrets import effective_keys
from penstock.runtime.config.settings import Settings
from penstock.runtime.config.shorthand import fold

__all__ = ["catalogue_yaml", "settings_yaml"]

_HIDDEN = "…"
_WORTH_HIDING = 8
"""A shorter value than this is a word like any other, and hiding it everywhere would garble the rest."""


def catalogue_yaml(catalogue: Catalogue, env: Mapping[str, str]) -> str:
    """The catalogue as YAML; each key variable with what is known of it, never with its value.

    A key that found its way into another text (an address made by interpolation) is cut out there, too.
    """
    names = {name for provider in catalogue.providers.values() for name in provider.api_key_env}
    files = effective_keys(names, env.get("PENSTOCK_SECRETS_DIR") or None, env)
    keys = {
        key for key in (*files.values(), *(env.get(name, "") for name in names)) if len(key) >= _WORTH_HIDING
    }
    plain = msgspec.to_builtins(catalogue)
    plain["roles"] = {name: fold(role) for name, role in plain["roles"].items()}
    data = _cleaned(plain, keys)
    for name, provider in catalogue.providers.items():
        shown = data["providers"][_hidden(name, keys)]
        shown["api_key_env"] = {key: masked_key(files.get(key)) for key in provider.api_key_env}
    return _yaml(data)


def settings_yaml(settings: Settings) -> str:
    """The process settings as YAML; addresses lose their passwords."""
    return _yaml(_cleaned(msgspec.to_builtins(settings), ()))


def _cleaned(value: Any, keys: Collection[str]) -> Any:
    if isinstance(value, dict):
        return {_hidden(name, keys): _cleaned(entry, keys) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_cleaned(entry, keys) for entry in value]
    return _hidden(value, keys) if isinstance(value, str) else value


def _hidden(text: str, keys: Collection[str]) -> str:
    # The longest first: a key that contains another must not leave its remainder behind.
    for key in sorted(keys, key=len, reverse=True):
        text = text.replace(key, _HIDDEN)
    return without_userinfo(text)


def _yaml(data: Any) -> str:
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=110)
