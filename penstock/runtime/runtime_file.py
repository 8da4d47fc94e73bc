"""The runtime file, in which `penstock up` writes the addresses of its system and how it samples traces, for commands
and for other workers.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from penstock.bus.auth import NO_NATS_AUTH
from penstock.bus.masking import without_userinfo
from penstock.runtime.config.problems import ConfigurationRefused, Problem

__all__ = [
    "DEFAULT_DATA",
    "RuntimeFile",
    "client_environment",
    "found_text",
    "named_directory",
    "read_runtime_file",
    "remove_runtime_file",
    "sampling_variables",
    "service_environment",
    "traces_are_chosen",
    "write_runtime_file",
]

DEFAULT_DATA = Path(".penstock")
_FILE = "up.json"
_ADDRESSES = ("NATS_URL", "PENSTOCK_SIMULATOR_URL", "PENSTOCK_ENCODER_URL", "PENSTOCK_CATALOGUE")
_TRACES = ("PENSTOCK_TRACES", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_SAMPLING = ("PENSTOCK_TRACE_SAMPLE_RATIO", "PENSTOCK_TRACE_TAIL_SAMPLING", "PENSTOCK_TRACE_SLOW_S")


class RuntimeFile(Struct, frozen=True, kw_only=True):
    """The content of `DATA/up.json`."""

    nats_url: str
    embedded: bool
    """Whether `penstock up` started the NATS server, which then needs no credentials."""
    pid: int
    """The process id of `penstock up`."""
    services: dict[str, str] = {}
    """Name -> base address of `/health` and `/metrics`."""
    catalogue: str | None = None
    """The catalogue of its services, as a value of PENSTOCK_CATALOGUE."""
    simulator: str | None = None
    """The address of the simulator, without a path; None if none was started."""
    encoder: str | None = None
    """The address of the local encoder, without a path; None if none was started."""
    edge: str | None = None
    """The public address of the HTTP edge, without a path; None if none was started."""
    edge_needs_key: bool = False
    """Whether an API key was needed for requests to the edge when it started."""
    traces: str | None = None
    """The file of spans; None if they are not written to a file."""
    collector: str | None = None
    """The URL to which spans are sent by OTLP, without a password; None if they are not sent."""
    sampling: dict[str, str] = {}
    """What `sampling_variables` returns for its services."""


def named_directory(text: str) -> Path:
    """The data directory that an option names: absolute, so that it differs from DEFAULT_DATA, which nothing named."""
    return Path(text).absolute()


def write_runtime_file(data: Path, places: RuntimeFile) -> None:
    """Write the file, readable by its owner only: the address of a NATS server may contain a password."""
    draft = data / f"{_FILE}.new"
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(places)) + b"\n")
    draft.rename(data / _FILE)


def read_runtime_file(data: Path) -> RuntimeFile | None:
    """The content; None if no `penstock up` uses `data`. Raises ConfigurationRefused for an unreadable file."""
    try:
        return msgspec.json.decode((data / _FILE).read_bytes(), type=RuntimeFile)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, msgspec.MsgspecError) as error:
        problem = Problem(problem=f"cannot be read ({error})", fix="remove it, or set NATS_URL")
        raise ConfigurationRefused(str(data / _FILE), [problem]) from error


def remove_runtime_file(data: Path) -> None:
    (data / _FILE).unlink(missing_ok=True)


def traces_are_chosen(env: Mapping[str, str]) -> bool:
    """Whether `env` sets the destination of spans; the default is a file in the data directory."""
    return any(env.get(name) for name in _TRACES)


def sampling_variables(env: Mapping[str, str]) -> dict[str, str]:
    """The variables of `env` that say which traces are exported: all processes of a system need the same values."""
    return {name: env[name] for name in _SAMPLING if env.get(name)}


def client_environment(env: Mapping[str, str], places: RuntimeFile | None) -> dict[str, str]:
    """`env` with the values of the runtime file added; if NATS_URL is set, nothing is added."""
    if places is None or env.get("NATS_URL"):
        return dict(env)
    found = {**env, "NATS_URL": places.nats_url, **places.sampling, **sampling_variables(env)}
    if places.embedded:
        found |= NO_NATS_AUTH
    if places.traces is not None and not traces_are_chosen(env):
        found["PENSTOCK_TRACES"] = f"file:{places.traces}"
    return found


def service_environment(env: Mapping[str, str], data: Path) -> dict[str, str]:
    """`env` with the values and the catalogue of the `penstock up` that uses `data`; if NATS_URL is set, nothing is
    added. Raises ConfigurationRefused as `read_runtime_file`.
    """
    running = read_runtime_file(data)
    found = client_environment(env, running)
    if running is not None and running.catalogue is not None and not env.get("NATS_URL"):
        found["PENSTOCK_CATALOGUE"] = env.get("PENSTOCK_CATALOGUE") or running.catalogue
    return found


def found_text(env: Mapping[str, str], found: Mapping[str, str], data: Path) -> str | None:
    """One line with the addresses that `service_environment` added to `env`; None if there are none."""
    added = [
        f"{name}={without_userinfo(found[name])}"
        for name in _ADDRESSES
        if found.get(name) and not env.get(name)
    ]
    return f"using the system that runs in {data}: {' '.join(added)}" if added else None
