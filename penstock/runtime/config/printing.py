"""The effective configuration as a catalogue file: defaults filled in, secrets masked, valid as input again."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
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
_KEY_NAMES = {"providers:\n": "- ", "guard:\n": "api_key_env: "}
"""By the first line of a section, what stands before the name of a key in it."""
_SHORTEST_KEY = 8
"""Characters from which on a value is masked everywhere; a shorter one may be an ordinary word."""


def catalogue_yaml(catalogue: Catalogue, env: Mapping[str, str]) -> str:
    """The catalogue as YAML that `load_catalogue` accepts. A comment says which keys are set, never their values.

    A key that was interpolated into another text, such as an address, is masked there too.
    """
    names = {name for provider in catalogue.providers.values() for name in provider.api_key_env}
    if catalogue.guard is not None and catalogue.guard.detectors.openai_moderation.enabled:
        names.add(catalogue.guard.detectors.openai_moderation.api_key_env)
    in_force = effective_keys(names, env.get("PENSTOCK_SECRETS_DIR") or None, env)
    values = (*in_force.values(), *(env.get(name, "") for name in names))
    keys = {key for key in values if len(key) >= _SHORTEST_KEY}
    plain = msgspec.to_builtins(catalogue)
    plain["roles"] = {name: fold(role) for name, role in plain["roles"].items()}
    status = {name: masked_key(in_force.get(name)) for name in names}
    return "".join(_with_key_status(_yaml(_masked(plain, keys)), status))


def settings_yaml(settings: Settings) -> str:
    """The process settings as YAML; passwords are removed from addresses."""
    return _yaml(_masked(msgspec.to_builtins(settings), ()))


def _with_key_status(text: str, status: Mapping[str, str]) -> Iterator[str]:
    section = ""
    for line in text.splitlines(keepends=True):
        if line[0] not in " -":
            section = line
        start = _KEY_NAMES.get(section)
        is_name = start is not None and line.lstrip().startswith(start)
        name = line.strip().removeprefix(start or "")
        yield f"{line.rstrip()}  # {status[name]}\n" if is_name and name in status else line


def _masked(value: Any, keys: Collection[str]) -> Any:
    """`value` without secrets and without nulls, with `${` escaped."""
    if isinstance(value, dict):
        entries = {name: entry for name, entry in value.items() if entry is not None}
        return {_masked_text(name, keys): _masked(entry, keys) for name, entry in entries.items()}
    if isinstance(value, list | tuple):
        return [_masked(entry, keys) for entry in value]
    return _masked_text(value, keys).replace("${", "$${") if isinstance(value, str) else value


def _masked_text(text: str, keys: Collection[str]) -> str:
    # The longest first: a key that contains another one would leave its remainder behind.
    for key in sorted(keys, key=len, reverse=True):
        text = text.replace(key, _HIDDEN)
    return without_userinfo(text)


def _yaml(data: Any) -> str:
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=110)
