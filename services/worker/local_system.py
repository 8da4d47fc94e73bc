"""The system that `penstock up` runs, as a worker started by hand beside it finds it; its simulator above all."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from penstock.bus.masking import without_userinfo
from penstock.contract.names import Role
from penstock.runtime.config.catalogue import Catalogue
from penstock.runtime.config.load import read_catalogue
from penstock.runtime.config.problems import ConfigurationRefused, Problem
from penstock.runtime.runtime_file import RuntimeFile, client_environment, read_runtime_file

__all__ = ["check_simulator", "found_environment", "found_text"]

_SIMULATOR_URL: Final = "PENSTOCK_SIMULATOR_URL"
_UNLIKELY: Final = "http://penstock-simulator.invalid"
"""An address that no catalogue names: the providers that have it take it from PENSTOCK_SIMULATOR_URL."""
_PATIENCE_S: Final = 3.0
"""How long a simulator that is started at the same moment may take to listen."""
_AGAIN_S: Final = 0.1
_ANSWER_S: Final = 2.0
_NOT_FOUND: Final = 404
_SERVER_ERROR: Final = 500

Answers = Callable[[str], bool]


def _lists_models(base_url: str) -> bool:
    """Whether an OpenAI-compatible provider answers at `base_url`; a refused key is an answer too."""
    parts = urlsplit(base_url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=_ANSWER_S)
    try:
        connection.request("GET", f"{parts.path}/models")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return status < _SERVER_ERROR and status != _NOT_FOUND


def found_environment(env: Mapping[str, str], data: Path, answers: Answers = _lists_models) -> dict[str, str]:
    """`env`, completed by what `penstock up` has written into `data`; what is set stays as it is.

    NATS_URL counts as the same system where it is the address written there. Raises ConfigurationRefused for a file
    that cannot be read.
    """
    if env.get("NATS_URL") and env.get(_SIMULATOR_URL):
        return dict(env)
    places = read_runtime_file(data)
    found = client_environment(env, places)
    if places is not None and not env.get(_SIMULATOR_URL) and _is_of(places, found["NATS_URL"]):
        simulator = places.simulator
        if simulator is not None and answers(f"{simulator}/v1"):
            found[_SIMULATOR_URL] = simulator
    return found


def found_text(env: Mapping[str, str], found: Mapping[str, str], data: Path) -> str | None:
    """One line: what `found_environment` has added to `env`; None: nothing."""
    added = [
        f"{name}={without_userinfo(found[name])}"
        for name in ("NATS_URL", _SIMULATOR_URL)
        if found.get(name) and not env.get(name)
    ]
    return f"using the system that runs in {data}: {' '.join(added)}" if added else None


def check_simulator(
    catalogue: Catalogue,
    roles: Iterable[Role],
    env: Mapping[str, str],
    data: Path,
    *,
    answers: Answers = _lists_models,
    patience_s: float = _PATIENCE_S,
) -> None:
    """Raise ConfigurationRefused where PENSTOCK_SIMULATOR_URL is not set, all models of `roles` are the simulator's,
    and no provider answers at the address that the catalogue has instead.

    An address that was set is not checked: its provider may come later.
    """
    if env.get(_SIMULATOR_URL):
        return
    simulated = _simulated(env)
    used = {catalogue.models[name].provider for role in roles for name in catalogue.roles[role].chain}
    if not used or not used <= simulated:
        return
    urls = {f"{catalogue.providers[name].base_url}" for name in used}
    give_up_s = time.monotonic() + patience_s
    while missing := sorted(url for url in urls if not answers(url)):
        if time.monotonic() >= give_up_s:
            raise ConfigurationRefused(catalogue.name, [_problem(url, data, answers) for url in missing])
        time.sleep(_AGAIN_S)


def _simulated(env: Mapping[str, str]) -> set[str]:
    marked = read_catalogue(None, {**env, _SIMULATOR_URL: _UNLIKELY})
    return {
        name for name, each in marked.providers.items() if f"{each.base_url}/".startswith(f"{_UNLIKELY}/")
    }


def _problem(url: str, data: Path, answers: Callable[[str], bool]) -> Problem:
    problem = f"no simulator answers at {without_userinfo(url)}, and {_SIMULATOR_URL} is not set"
    places = read_runtime_file(data)
    if places is not None and places.simulator is not None and answers(f"{places.simulator}/v1"):
        # NATS_URL names another server than the one written there.
        return Problem(
            problem=problem,
            fix=f"set {_SIMULATOR_URL}={places.simulator} (the simulator of the system in {data})",
        )
    fix = (
        f"set {_SIMULATOR_URL}=http://HOST:PORT, the address that `penstock up` prints as simulator, without its /v1; "
        "or start the worker where `penstock up` was started, or with the same --data DIR (looked into: "
        f"{data.absolute()}); or start a simulator first: `penstock run simulator`; or choose another catalogue with "
        "PENSTOCK_CATALOGUE"
    )
    return Problem(problem=problem, fix=fix)


def _is_of(places: RuntimeFile, nats_url: str) -> bool:
    return _address(places.nats_url) == _address(nats_url)


def _address(nats_url: str) -> tuple[str | None, int | None]:
    """Host and port; the names of this machine are one."""
    parts = urlsplit(nats_url if "://" in nats_url else f"nats://{nats_url}")
    try:
        port = parts.port
    except ValueError:
        port = None
    host = "127.0.0.1" if parts.hostname in {"localhost", "::1"} else parts.hostname
    return host, port or 4222
