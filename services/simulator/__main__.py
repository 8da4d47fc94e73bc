"""Entry point of `python -m services.simulator`: read the settings and serve."""

from __future__ import annotations

import argparse
import os
import sys

from penstock.runtime.config.problems import ConfigurationRefused
from penstock.runtime.serving.provider_server import listen, port_argument, serve
from services.simulator.app import build
from services.simulator.server import configured
from services.simulator.settings import load


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="penstock run simulator", description="A simulated provider.")
    parser.add_argument("--port", type=port_argument, help="0 for any free port (default: SIMULATOR_PORT)")
    options = parser.parse_args(arguments)
    try:
        settings = load(os.environ)
    except ConfigurationRefused as refused:
        sys.stderr.write(f"{refused}\n")
        return 2
    port = settings.port if options.port is None else options.port
    listener = listen("simulator", settings.host, port)
    if listener is None:
        return 2
    serve(configured(build(settings)), listener, "simulator", is_monitored=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
