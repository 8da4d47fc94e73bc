"""`python -m services.indexer`: read the settings, run."""

from __future__ import annotations

import argparse
import os
import sys

from penstock.runtime.config.load import read_catalogue
from penstock.runtime.config.problems import ConfigurationRefused
from penstock.runtime.config.settings import load_settings
from penstock.runtime.processes.extras import INDEX, missing_libraries_text
from penstock.runtime.processes.nats_import import import_nats_without_aiohttp
from penstock.runtime.processes.stop_signals import end_at_once_when_interrupted
from penstock.runtime.runtime_file import DEFAULT_DATA, found_text, service_environment
from services.indexer.settings import store_url

_DESCRIPTION = (
    "Index documents, and answer searches in them. The settings come from the environment and the section retrieval of "
    "the catalogue."
)
_NOT_CONFIGURED = (
    "the catalogue has no section retrieval, so there is nothing to index: write retrieval: {} for the defaults, and a "
    "role embed\n"
)


def main(arguments: list[str] | None = None) -> int:
    argparse.ArgumentParser(prog="penstock run indexer", description=_DESCRIPTION).parse_args(arguments)
    if missing := missing_libraries_text(INDEX):
        sys.stderr.write(f"{missing}\n")
        return 2
    try:
        env = service_environment(os.environ, DEFAULT_DATA)
        if found := found_text(os.environ, env, DEFAULT_DATA):
            sys.stderr.write(f"{found}\n")
        settings = load_settings(env)
        catalogue = read_catalogue(None, env)
        if catalogue.retrieval is None:
            sys.stderr.write(_NOT_CONFIGURED)
            return 2
        url = store_url(catalogue.retrieval.store, env)
    except ConfigurationRefused as refused:
        sys.stderr.write(f"{refused}\n")
        return 2
    import_nats_without_aiohttp()
    from penstock.runtime.service import Shell  # noqa: PLC0415 - an invalid configuration is reported before the slow imports
    from services.indexer.app import Indexer  # noqa: PLC0415

    shell = Shell("indexer", settings)
    return shell.run(Indexer(shell, catalogue, catalogue.retrieval, url))


if __name__ == "__main__":
    end_at_once_when_interrupted()
    sys.exit(main())
