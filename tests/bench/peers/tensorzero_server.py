"""Run by the Python that has TensorZero: its gateway, which the package serves over HTTP on a free port of loopback."""

from __future__ import annotations

import json
import signal
import sys
from types import SimpleNamespace

from tensorzero import patch_openai_client  # type: ignore[import-not-found]

client = patch_openai_client(SimpleNamespace(base_url=""), config_file=sys.argv[1], async_setup=False)
print(json.dumps({"url": str(client.base_url)}), flush=True)
signal.pause()
