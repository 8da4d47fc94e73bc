"""The variables of the services, checked before any of them is started."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from penstock.runtime.config.catalogue import Catalogue
from penstock.runtime.config.problems import ConfigurationRefused, Problem
from penstock.runtime.config.secrets import check_secrets_dir, key_dates
from penstock.runtime.config.settings import SOURCE, load_settings
from services.indexer.settings import store_url

__all__ = ["check_each", "check_named_variables", "check_process_settings"]


def check_each(env: Mapping[str, str], *checks: Callable[[Mapping[str, str]], object]) -> None:
    """Raises ConfigurationRefused with every mistake that the checks of `env` find, each once."""
    problems: list[Problem] = []
    for check in checks:
        try:
            check(env)
        except ConfigurationRefused as refused:
            problems += (problem for problem in refused.problems if problem not in problems)
    if problems:
        raise ConfigurationRefused(SOURCE, problems)


def check_process_settings(env: Mapping[str, str]) -> None:
    """The settings that all services have. Raises ConfigurationRefused."""
    check_secrets_dir(load_settings(env).secrets_dir)


def check_named_variables(catalogue: Catalogue, env: Mapping[str, str]) -> None:
    """The variables that the catalogue names, as far as they are set. Raises ConfigurationRefused."""
    retrieval = catalogue.retrieval
    keys = [key for provider in catalogue.providers.values() for key in provider.api_key_env]

    def check_store(env: Mapping[str, str]) -> None:
        if retrieval is not None and env.get(retrieval.store.url_env):
            store_url(retrieval.store, env)

    check_each(env, lambda env: key_dates(keys, env), check_store)
