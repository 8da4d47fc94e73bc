"""Other gateways: where they are installed, how each is started on loopback, and how a request names its model.

`PEERS` is a folder with one folder for each gateway, filled by the commands of docs/performance.md. Nothing is
downloaded or reported at run time: the options here that say so are the gateways' own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Protocol

from msgspec import Struct

__all__ = ["GATEWAYS", "Gateway", "Start", "missing"]


class Start(Struct, frozen=True):
    """A command, the variables that it needs, and how a client asks it.

    `url`: empty if the command chooses a port and prints a line of JSON with the `url`.
    """

    command: tuple[str, ...]
    url: str
    env: Mapping[str, str]
    model: str
    headers: Mapping[str, str]


class Gateway(Protocol):
    name: str

    def version(self, folder: Path) -> str:
        """Empty: it is not installed in this folder."""
        ...

    def start(self, folder: Path, scratch: Path, provider: str, port: int, /) -> Start:
        """`scratch`: for files of this run. `provider`: the address of the simulator's API, with /v1."""
        ...


class LiteLlm:
    name = "litellm proxy"

    def version(self, folder: Path) -> str:
        return _python_version(folder / "litellm", "litellm")

    def start(self, folder: Path, scratch: Path, provider: str, port: int) -> Start:
        config = {
            "model_list": [
                {
                    "model_name": "m-chat",
                    "litellm_params": {"model": "openai/m-chat", "api_base": provider, "api_key": "none"},
                }
            ],
            "litellm_settings": {"telemetry": False},
        }
        (scratch / "litellm.yaml").write_text(json.dumps(config))  # JSON is YAML
        program = str(folder / "litellm/bin/litellm")
        options = ("--host", "127.0.0.1", "--port", str(port), "--telemetry", "False")
        return Start(
            command=(program, "--config", str(scratch / "litellm.yaml"), *options),
            url=f"http://127.0.0.1:{port}/v1",
            env={
                "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # otherwise it loads its list of prices from GitHub
                # No gateway of the comparison asks for a key; this one needs to be told so.
                "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
            },
            model="m-chat",
            headers={},
        )


class Portkey:
    name = "Portkey gateway"

    def version(self, folder: Path) -> str:
        package = self._package(folder) / "package.json"
        return str(json.loads(package.read_text())["version"]) if package.is_file() else ""

    def start(self, folder: Path, scratch: Path, provider: str, port: int) -> Start:
        # It has no option for the address, and would listen on all.
        loopback = scratch / "loopback.mjs"
        loopback.write_text(
            'import net from "node:net";\n'
            "const listen = net.Server.prototype.listen;\n"
            "net.Server.prototype.listen = function (port, host, ...rest) {\n"
            '  return listen.call(this, port, host ?? "127.0.0.1", ...rest);\n'
            "};\n"
        )
        server = str(self._package(folder) / "build/start-server.js")
        return Start(
            command=("node", "--import", str(loopback), server, f"--port={port}", "--headless"),
            url=f"http://127.0.0.1:{port}/v1",
            env={"NODE_ENV": "production"},
            model="m-chat",
            headers={"x-portkey-provider": "openai", "x-portkey-custom-host": provider},
        )

    def _package(self, folder: Path) -> Path:
        return folder / "portkey/node_modules/@portkey-ai/gateway"


class TensorZero:
    """The gateway in its Python package: a server of Rust threads in a process that waits. It chooses its port."""

    name = "TensorZero"

    def version(self, folder: Path) -> str:
        return _python_version(folder / "tensorzero", "tensorzero")

    def start(self, folder: Path, scratch: Path, provider: str, _port: int) -> Start:
        config = scratch / "tensorzero.toml"
        config.write_text(
            "[gateway]\n"
            "disable_pseudonymous_usage_analytics = true\n"
            "[gateway.observability]\n"
            "enabled = false\n"  # it needs a ClickHouse server
            "[models.m-chat]\n"
            'routing = ["simulator"]\n'
            "[models.m-chat.providers.simulator]\n"
            'type = "openai"\n'
            'model_name = "m-chat"\n'
            f'api_base = "{provider}/"\n'
            'api_key_location = "none"\n'
        )
        script = Path(__file__).with_name("tensorzero_server.py")
        return Start(
            command=(str(folder / "tensorzero/bin/python"), str(script), str(config)),
            url="",
            env={},
            model="tensorzero::model_name::m-chat",
            headers={},
        )


def _python_version(environment: Path, package: str) -> str:
    """Of a package that pip installed there."""
    found = sorted(environment.glob(f"lib/python3*/site-packages/{package}-*.dist-info"))
    return found[-1].name.removeprefix(f"{package}-").removesuffix(".dist-info") if found else ""


GATEWAYS: Final[tuple[Gateway, ...]] = (LiteLlm(), Portkey(), TensorZero())


def missing(folder: Path, gateways: tuple[Gateway, ...] = GATEWAYS) -> dict[str, str]:
    """A message for each gateway that is not installed in this folder, by its name."""
    return {
        each.name: f"{each.name}: skipped, not installed in {folder} (docs/performance.md has the commands)"
        for each in gateways
        if not each.version(folder)
    }
