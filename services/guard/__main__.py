"""`python -m services.guard`: read the settings, run."""

from __future__ import annotations

import argparse
import os
import sys

from penstock.runtime.config.load import read_catalogue
from penstock.runtime.config.problems import ConfigurationRefused
from penstock.runtime.config.secrets import check_secrets_dir
from penstock.runtime.config.settings import load_settings
from penstock.runtime.processes.extras import GUARD, missing_libraries_text
from penstock.runtime.processes.nats_import import import_nats_without_aiohttp
from penstock.runtime.processes.stop_signals import end_at_once_when_interrupted
from penstock.runtime.runtime_file import DEFAULT_DATA, found_text, service_environment
from services.guard.settings import cache_directory, moderation_key

_DESCRIPTION = "Check the texts of requests and answers. The settings come from the environment."


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="penstock run guard", description=_DESCRIPTION)
    parser.add_argument(
        "--compile-rules",
        action="store_true",
        help="fill the cache of compiled rules, as for an image, and exit",
    )
    options = parser.parse_args(arguments)
    if missing := missing_libraries_text(GUARD):
        sys.stderr.write(f"{missing}\n")
        return 2
    if options.compile_rules:
        from services.guard.secrets.detector import SecretDetector  # noqa: PLC0415 - of the extra `guard`

        SecretDetector(cache_directory(os.environ))
        return 0
    try:
        env = service_environment(os.environ, DEFAULT_DATA)
        if found := found_text(os.environ, env, DEFAULT_DATA):
            sys.stderr.write(f"{found}\n")
        settings = load_settings(env)
        check_secrets_dir(settings.secrets_dir)
        catalogue = read_catalogue(None, env)
        key = moderation_key(catalogue, settings, env)
    except ConfigurationRefused as refused:
        sys.stderr.write(f"{refused}\n")
        return 2
    # Read by numpy at its import. The encoder uses one thread; idle threads of BLAS would spin for the others.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    import_nats_without_aiohttp()
    from penstock.runtime.service import Shell  # noqa: PLC0415 - an invalid configuration is reported before the slow imports
    from services.guard.app import GuardService  # noqa: PLC0415

    shell = Shell("guard", settings)
    return shell.run(GuardService(shell, catalogue, cache_directory(os.environ), key))


if __name__ == "__main__":
    end_at_once_when_interrupted()
    sys.exit(main())
