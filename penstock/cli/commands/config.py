"""`penstock config check` and `penstock config print`: validate the configuration, print the effective one."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from penstock.cli.local.provider_checks import missing_key_notes
from penstock.runtime.config.checks import warnings_of
from penstock.runtime.config.load import locate_catalogue, read_catalogue
from penstock.runtime.config.printing import catalogue_yaml, settings_yaml
from penstock.runtime.config.problems import ConfigurationRefused
from penstock.runtime.config.secrets import check_secrets_dir, key_dates
from penstock.runtime.config.settings import load_settings

__all__ = ["check", "print_effective"]


def check(path: Path | None, env: Mapping[str, str] = os.environ) -> int:
    """Exit code 0 for a valid catalogue and valid settings, 1 with every mistake of both on stderr."""
    mistakes = 0
    try:
        check_secrets_dir(load_settings(env).secrets_dir)
    except ConfigurationRefused as refused:
        mistakes += _print_problems(refused)
    try:
        catalogue = read_catalogue(path, env)
        key_dates((key for provider in catalogue.providers.values() for key in provider.api_key_env), env)
    except ConfigurationRefused as refused:
        mistakes += _print_problems(refused)
    if mistakes:
        print(f"{mistakes} {'mistake' if mistakes == 1 else 'mistakes'}.", file=sys.stderr)
        return 1
    counts = f"{len(catalogue.providers)}, models: {len(catalogue.models)}, roles: {len(catalogue.roles)}"
    print(f"{locate_catalogue(path, env)}: {catalogue.name} is valid (providers: {counts}).")
    for warning in warnings_of(catalogue):
        print(f"Warning: {warning}", file=sys.stderr)
    for note in missing_key_notes(catalogue, env):
        print(note, file=sys.stderr)
    return 0


def print_effective(path: Path | None, env: Mapping[str, str] = os.environ) -> int:
    """Print the effective configuration with secrets masked; exit codes as in `check`."""
    try:
        settings = load_settings(env)
        catalogue = read_catalogue(path, env)
        file = locate_catalogue(path, env)
    except ConfigurationRefused as refused:
        _print_problems(refused)
        return 1
    commented = "".join(f"# {line}\n" for line in settings_yaml(settings).splitlines())
    print(f"# The process, from the environment:\n{commented}")
    print(f"# The catalogue, from {file}:\n{catalogue_yaml(catalogue, env)}", end="")
    return 0


def _print_problems(refused: ConfigurationRefused) -> int:
    print(refused, file=sys.stderr)
    return len(refused.problems)
