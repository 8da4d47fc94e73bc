"""`python -m services.ledger`: read the settings, run."""

from __future__ import annotations

import argparse
import os
import sys

from penstock.runtime.config.load import read_catalogue
from penstock.runtime.config.problems import ConfigurationRefused
from penstock.runtime.config.settings import load_settings
from penstock.runtime.processes.nats_import import import_nats_without_aiohttp
from penstock.runtime.processes.stop_signals import end_at_once_when_interrupted
from penstock.runtime.runtime_file import DEFAULT_DATA, found_text, service_environment

_DESCRIPTION = "Keep the budgets: hold, settle and report spend. The settings come from the environment."


def main(arguments: list[str] | None = None) -> int:
    argparse.ArgumentParser(prog="penstock run ledger", description=_DESCRIPTION).parse_args(arguments)
    try:
        env = service_environment(os.environ, DEFAULT_DATA)
        if found := found_text(os.environ, env, DEFAULT_DATA):
            sys.stderr.write(f"{found}\n")
        settings = load_settings(env)
        catalogue = read_catalogue(None, env)
    except ConfigurationRefused as refused:
        sys.stderr.write(f"{refused}\n")
        return 2
    import_nats_without_aiohttp()
    from penstock.runtime.service import Shell  # noqa: PLC0415 - an invalid configuration is reported before the slow imports
    from services.ledger.app import Ledger  # noqa: PLC0415

    shell = Shell("ledger", settings)
    return shell.run(Ledger(shell, catalogue))


if __name__ == "__main__":
    end_at_once_when_interrupted()
    sys.exit(main())
