"""The configuration of the embedded nats-server, as text."""

from __future__ import annotations

import json
from pathlib import Path

from schemas.streams import MAX_PAYLOAD_BYTES

__all__ = ["nats_config"]

_TEMPLATE = """\
server_name: {server_name}
listen: "127.0.0.1:{port}"
http: "127.0.0.1:-1"
ports_file_dir: {directory}

max_payload: {max_payload}
# 32 of the largest messages may wait for one reader before the server takes it for dead and cuts it off.
max_pending: 256MB

jetstream {{
  store_dir: {store_dir}
  max_mem: 1GB
  max_file: 10GB
}}
"""


def nats_config(*, directory: Path, store_dir: Path, port: int, server_name: str) -> str:
    """A server on loopback with JetStream; port -1 lets the kernel choose, and the ports file says which."""
    return _TEMPLATE.format(
        # A JSON string is a string of the server's configuration language too, quotes and blanks included.
        server_name=json.dumps(server_name),
        port=port,
        directory=json.dumps(str(directory)),
        store_dir=json.dumps(str(store_dir)),
        max_payload=MAX_PAYLOAD_BYTES,
    )
