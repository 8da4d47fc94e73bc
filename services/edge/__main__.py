"""`python -m services.edge`: read the settings, run."""

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
from services.edge.http.listener import bind
from services.edge.settings import load_edge_settings

_DESCRIPTION = "Serve OpenAI-compatible clients over HTTP. The settings come from the environment."


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="penstock run edge", description=_DESCRIPTION)
    parser.add_argument("--fallback-port", type=int, metavar="PORT", help="where PENSTOCK_EDGE_PORT is taken")
    options = parser.parse_args(arguments)
    try:
        env = service_environment(os.environ, DEFAULT_DATA)
        if found := found_text(os.environ, env, DEFAULT_DATA):
            sys.stderr.write(f"{found}\n")
        settings = load_settings(env)
        edge_settings = load_edge_settings(env)
        catalogue = read_catalogue(None, env)
    except ConfigurationRefused as refused:
        sys.stderr.write(f"{refused}\n")
        return 2
    try:
        listener = bind(edge_settings.host, edge_settings.port, options.fallback_port)
    except OSError as error:
        address = f"{edge_settings.host}, port {edge_settings.port}"
        sys.stderr.write(
            f"the edge cannot listen on {address}: {error.strerror}; set PENSTOCK_EDGE_HOST or PENSTOCK_EDGE_PORT\n"
        )
        return 2
    import_nats_without_aiohttp()
    from penstock.runtime.service import Shell  # noqa: PLC0415 - what prevents a start is reported before the slow imports
    from services.edge.app import Edge  # noqa: PLC0415

    shell = Shell("edge", settings)
    edge = Edge(shell, catalogue, edge_settings, listener)
    return shell.run(edge, before_connection=edge.listen)


if __name__ == "__main__":
    end_at_once_when_interrupted()
    sys.exit(main())
