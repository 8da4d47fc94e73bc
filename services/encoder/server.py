"""How uvicorn serves the encoder."""

from __future__ import annotations

from typing import Final

import uvicorn
from starlette.types import ASGIApp

from penstock.runtime.serving.provider_server import KEEP_ALIVE_S

__all__ = ["configured"]

_BACKLOG: Final = 256


def configured(app: ASGIApp, drain_s: float) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        proxy_headers=False,
        server_header=False,
        backlog=_BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=max(1, round(drain_s)),
    )
