"""What `penstock up` starts, decided from its options and the environment before anything runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from msgspec import Struct

from penstock.cli.commands.chat_roles import NOT_CHATTING
from penstock.cli.local.child import ServiceSpec
from penstock.cli.local.free_port import free_port
from penstock.cli.local.python_child import code_path, service_argv
from penstock.runtime.config.catalogue import Catalogue
from penstock.runtime.config.load import read_catalogue
from penstock.runtime.config.settings import Settings, load_settings
from penstock.runtime.runtime_file import traces_are_chosen

__all__ = ["HUMANE_SPEED", "Plan", "make_plan"]

HUMANE_SPEED: Final = {"SIMULATOR_FIRST_TOKEN_MS": "150", "SIMULATOR_TOKENS_PER_SECOND": "120"}
"""At which streaming can be seen; without it the simulator answers at once."""
_SIMULATOR: Final = "simulator"
_SIMULATOR_URL: Final = "PENSTOCK_SIMULATOR_URL"
_SPEED: Final = (*HUMANE_SPEED, "SIMULATOR_LATENCY_MS")


class Plan(Struct, frozen=True, kw_only=True):
    """One system on one machine."""

    data: Path
    """Absolute. Store, logs and traces go here."""
    settings: Settings
    """What all services have in common; `nats_url` counts only without an embedded server."""
    catalogue: Catalogue
    embedded: bool
    trace_file: Path | None
    """None where the spans go elsewhere or nowhere."""
    simulator: ServiceSpec | None
    simulator_url: str | None
    router: ServiceSpec
    workers: tuple[ServiceSpec, ...]

    @property
    def log_dir(self) -> Path:
        return self.data / "logs"

    def stages(self, nats_url: str) -> list[list[ServiceSpec]]:
        """In the order of starting: workers ask the provider for its models, and need the router's streams."""
        first = [self.router] if self.simulator is None else [self.simulator, self.router]
        return [[_at(spec, nats_url) for spec in stage] for stage in (first, self.workers)]


def make_plan(data: Path, env: Mapping[str, str], *, per_role: bool = False, simulator: bool = True) -> Plan:
    """Judge `env` before anything starts. Raises ConfigurationRefused with every mistake in it."""
    data = data.absolute()
    settings = load_settings(env)
    ports = _Ports()
    port = ports.take() if simulator and not env.get(_SIMULATOR_URL) else None
    simulator_url = f"http://127.0.0.1:{port}" if port else env.get(_SIMULATOR_URL) or None
    catalogue = read_catalogue(None, env if simulator_url is None else {**env, _SIMULATOR_URL: simulator_url})
    if port and not _simulated(catalogue, simulator_url):
        port = simulator_url = None
    trace_file = _trace_file(data, env, settings)
    own = {**env, **code_path(env), **_own_environment(env, trace_file, simulator_url)}

    def service(name: str, kind: str, *arguments: str) -> ServiceSpec:
        return ServiceSpec(name, service_argv(kind, *arguments), {**own, "PENSTOCK_HTTP_PORT": ports.take()})

    chatting = [role for role in catalogue.roles if role not in NOT_CHATTING]
    expected = () if simulator else ("--no-simulator",)  # it may be started later
    workers = [(f"worker-{role}", role) for role in chatting] if per_role else [("worker", "all")]
    return Plan(
        data=data,
        settings=settings,
        catalogue=catalogue,
        embedded=not env.get("NATS_URL"),
        trace_file=trace_file,
        simulator=_simulator(port, catalogue, simulator_url, own) if port else None,
        simulator_url=simulator_url,
        router=service("router", "router"),
        workers=tuple(service(name, "worker", "--role", role, *expected) for name, role in workers),
    )


def _simulated(catalogue: Catalogue, url: str | None) -> set[str]:
    """The providers whose address reads PENSTOCK_SIMULATOR_URL, whatever the catalogue is called."""
    return {name for name, each in catalogue.providers.items() if f"{each.base_url}/".startswith(f"{url}/")}


def _simulator(port: str, catalogue: Catalogue, url: str | None, env: Mapping[str, str]) -> ServiceSpec:
    # It shall list the names of this catalogue: workers leave out what their provider does not list.
    simulated = _simulated(catalogue, url)
    names = dict.fromkeys(
        model.name or key for key, model in catalogue.models.items() if model.provider in simulated
    )
    models = env.get("SIMULATOR_MODELS") or ",".join(names)
    speed = {} if any(env.get(name) for name in _SPEED) else HUMANE_SPEED
    argv = service_argv(_SIMULATOR, "--port", port)
    return ServiceSpec(_SIMULATOR, argv, {**env, **speed, "SIMULATOR_MODELS": models})


def _trace_file(data: Path, env: Mapping[str, str], settings: Settings) -> Path | None:
    if not traces_are_chosen(env):
        return data / "traces.jsonl"
    return None if settings.trace_file is None else Path(settings.trace_file).absolute()


def _own_environment(
    env: Mapping[str, str], trace_file: Path | None, simulator_url: str | None
) -> dict[str, str]:
    # A name of its own for every process: one PENSTOCK_INSTANCE for all would be one name for all.
    own = {"PENSTOCK_INSTANCE": ""}
    if trace_file is not None:
        own["PENSTOCK_TRACES"] = f"file:{trace_file}"
    if simulator_url is not None:
        own[_SIMULATOR_URL] = simulator_url
    if not env.get("NATS_URL"):
        own["NATS_CREDENTIALS"] = ""  # the embedded server knows no users
    return own


def _at(spec: ServiceSpec, nats_url: str) -> ServiceSpec:
    return ServiceSpec(spec.name, spec.argv, {**spec.env, "NATS_URL": nats_url})


class _Ports:
    """Free ports, each given once: a service that is started again comes back where it was."""

    def __init__(self) -> None:
        self._given: set[int] = set()

    def take(self) -> str:
        while (port := free_port()) in self._given:
            pass
        self._given.add(port)
        return str(port)
