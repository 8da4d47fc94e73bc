"""`python -m services.encoder`: read the settings, load the model, serve."""

from __future__ import annotations

import argparse
import os
import sys

from penstock.runtime.config.problems import ConfigurationRefused
from penstock.runtime.retrieval.encoder_libraries import missing_encoder_text
from services.encoder.server import listen, run
from services.encoder.settings import load_encoder_settings

_DESCRIPTION = "Serve vectors of texts by a local model. The settings come from the environment."
_HIGHEST_PORT = 65_535


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="penstock run encoder", description=_DESCRIPTION)
    parser.add_argument("--port", type=_port, help="0 for any free port (default: PENSTOCK_ENCODER_PORT)")
    options = parser.parse_args(arguments)
    if missing := missing_encoder_text():
        sys.stderr.write(f"{missing}\n")
        return 2
    try:
        settings = load_encoder_settings(os.environ)
    except ConfigurationRefused as refused:
        sys.stderr.write(f"{refused}\n")
        return 2
    port = settings.port if options.port is None else options.port
    try:
        listener = listen(settings.host, port)
    except OSError as error:
        sys.stderr.write(f"the encoder cannot listen on {settings.host}, port {port}: {error.strerror}\n")
        return 2
    os.environ["OPENBLAS_NUM_THREADS"] = str(settings.threads)
    from services.encoder.app import build  # noqa: PLC0415 - what prevents a start is reported before the slow imports
    from services.encoder.model import Model  # noqa: PLC0415

    run(build(settings, Model(settings.threads).encode), listener, settings.drain_s)
    return 0


def _port(text: str) -> int:
    if not text.isdecimal() or len(text) > 5 or int(text) > _HIGHEST_PORT:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: use a number from 0 to {_HIGHEST_PORT}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
