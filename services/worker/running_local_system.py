"""Finds the NATS server and the simulator of a running `penstock up` for a worker that is started by hand."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from penstock.contract.names import Role
from penstock.runtime.config.catalogue import Catalogue
from penstock.runtime.config.load import read_catalogue
from penstock.runtime.config.problems import ConfigurationRefused, Problem
from penstock.runtime.runtime_file import DEFAULT_DATA, RuntimeFile, client_environment, read_runtime_file

__all__ = ["check_simulator", "found_environment"]

_SIMULATOR_URL: Final = "PENSTOCK_SIMULATOR_URL"
_ENCODER_URL: Final = "PENSTOCK_ENCODER_URL"
_CATALOGUE: Final = "PENSTOCK_CATALOGUE"
_PLACEHOLDER: Final = "http://penstock-simulator.invalid"
"""A placeholder address: providers that show it take their address from PENSTOCK_SIMULATOR_URL."""
_START_TIMEOUT_S: Final = 3.0
"""Seconds that a simulator started at the same time may take to listen."""
_RETRY_S: Final = 0.1
_TIMEOUT_S: Final = 2.0
_NOT_FOUND: Final = 404
_SERVER_ERROR: Final = 500

Answers = Callable[[str], bool]


def _lists_models(base_url: str) -> bool:
    """Whether an OpenAI-compatible provider answers at `base_url`; a refusal of the key counts as an answer."""
    parts = urlsplit(base_url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", f"{parts.path}/models")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return status < _SERVER_ERROR and status != _NOT_FOUND


def found_environment(env: Mapping[str, str], data: Path, answers: Answers = _lists_models) -> dict[str, str]:
    """`env`, completed by what `penstock up` wrote into `data`; variables that are set stay.

    Simulator and catalogue are taken only if NATS_URL names the NATS server in `data`. Raises ConfigurationRefused for
    a file that cannot be read, and where no system runs in a directory that was named.
    """
    if env.get("NATS_URL") and env.get(_SIMULATOR_URL):
        return dict(env)
    running = read_runtime_file(data)
    if running is None and data != DEFAULT_DATA and not env.get("NATS_URL"):
        # The default address may be that of another system.
        fix = "omit --data, or set NATS_URL to the address of the system"
        raise ConfigurationRefused(
            f"--data {data}", [Problem(problem="no `penstock up` runs with it", fix=fix)]
        )
    found = client_environment(env, running)
    if running is None or not _is_nats_of(running, found["NATS_URL"]):
        return found
    if running.catalogue is not None and not env.get(_CATALOGUE):
        found[_CATALOGUE] = running.catalogue
    for name, address in ((_SIMULATOR_URL, running.simulator), (_ENCODER_URL, running.encoder)):
        if address is not None and not env.get(name) and answers(f"{address}/v1"):
            found[name] = address
    return found


def check_simulator(
    catalogue: Catalogue,
    roles: Iterable[Role],
    env: Mapping[str, str],
    data: Path,
    *,
    answers: Answers = _lists_models,
    timeout_s: float = _START_TIMEOUT_S,
) -> None:
    """Raise ConfigurationRefused if PENSTOCK_SIMULATOR_URL is not set, `roles` use the simulator's models only, and no
    provider answers at the address in the catalogue.

    An address that is set is not checked: its provider may start later.
    """
    if env.get(_SIMULATOR_URL):
        return
    marked = read_catalogue(None, {**env, _SIMULATOR_URL: _PLACEHOLDER})
    simulated = marked.providers_at(_PLACEHOLDER)
    used = {catalogue.models[name].provider for role in roles for name in catalogue.all_roles[role].chain}
    if not used or not used <= simulated:
        return
    urls = {f"{catalogue.providers[name].base_url}" for name in used}
    give_up_s = time.monotonic() + timeout_s
    while missing := sorted(url for url in urls if not answers(url)):
        if time.monotonic() >= give_up_s:
            raise ConfigurationRefused(catalogue.name, [_problem(url, data, answers) for url in missing])
        time.sleep(_RETRY_S)


def _problem(url: str, data: Path, answers: Callable[[str], bool]) -> Problem:
    problem = f"no simulator answers at {url}, and {_SIMULATOR_URL} is not set"
    running = read_runtime_file(data)
    if running is not None and running.simulator is not None and answers(f"{running.simulator}/v1"):
        # NATS_URL names another server than the one in `data`.
        return Problem(
            problem=problem,
            fix=f"set {_SIMULATOR_URL}={running.simulator} (the simulator of the system in {data})",
        )
    fix = (
        f"set {_SIMULATOR_URL}=http://HOST:PORT, the address that `penstock up` prints as simulator, without its /v1; "
        "or start the worker where `penstock up` was started, or with the same --data DIR (looked into: "
        f"{data.absolute()}); or start a simulator first: `penstock run simulator`; or choose another catalogue with "
        "PENSTOCK_CATALOGUE"
    )
    return Problem(problem=problem, fix=fix)


def _is_nats_of(running: RuntimeFile, nats_url: str) -> bool:
    return _address(running.nats_url) == _address(nats_url)


def _address(nats_url: str) -> tuple[str | None, int | None]:
    """Host and port, with one name for this machine."""
    parts = urlsplit(nats_url if "://" in nats_url else f"nats://{nats_url}")
    try:
        port = parts.port
    except ValueError:
        port = None
    host = "127.0.0.1" if parts.hostname in {"localhost", "::1"} else parts.hostname
    return host, port or 4222
