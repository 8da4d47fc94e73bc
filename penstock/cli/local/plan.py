"""The plan of `penstock up`: which processes to start, from its options and the environment, before anything runs."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from penstock.bus.auth import NO_NATS_AUTH
from penstock.bus.masking import without_userinfo
from penstock.cli.errors import LaunchError
from penstock.cli.local.child import ServiceSpec
from penstock.cli.local.ports import PortAllocator
from penstock.cli.local.python_child import code_path, service_argv
from penstock.cli.local.service_settings import check_each, check_named_variables, check_process_settings
from penstock.runtime.config.catalogue import Catalogue
from penstock.runtime.config.load import read_catalogue
from penstock.runtime.config.retrieval import Store
from penstock.runtime.config.settings import Settings, load_settings
from penstock.runtime.config.shipped import default_catalogue, shipped_catalogues
from penstock.runtime.processes.extras import ENCODER, GUARD, INDEX, missing_libraries_text
from penstock.runtime.runtime_file import traces_are_chosen
from services.edge.settings import load_edge_settings
from services.encoder.settings import load_encoder_settings
from services.simulator.settings import load as load_simulator_settings

__all__ = ["EDGE_PORT", "VISIBLE_SPEED", "Plan", "make_plan"]

VISIBLE_SPEED: Final = {"SIMULATOR_FIRST_TOKEN_MS": "150", "SIMULATOR_TOKENS_PER_SECOND": "120"}
"""Settings of the simulator at which streaming can be seen; without them it answers at once."""
EDGE_PORT: Final = 8080
"""The default port of the HTTP edge."""
_SIMULATOR: Final = "simulator"
_SIMULATOR_URL: Final = "PENSTOCK_SIMULATOR_URL"
_ENCODER: Final = "encoder"
_ENCODER_URL: Final = "PENSTOCK_ENCODER_URL"
_WITHOUT_ENCODER: Final = "Note: no encoder is started, and requests for its vectors fail: {}."
_INDEX: Final = "PENSTOCK_INDEX_LOCATION"
_WITHOUT_INDEXER: Final = "Note: no indexer is started, and requests that need one fail: {}."
_SPEED: Final = (*VISIBLE_SPEED, "SIMULATOR_LATENCY_MS")


class Plan(Struct, frozen=True, kw_only=True):
    """The processes of one system on one machine."""

    data: Path
    """The absolute path of the store, logs and traces."""
    settings: Settings
    """The settings of all services; `nats_url` is used only without an embedded server."""
    catalogue: Catalogue
    catalogue_setting: str
    """The catalogue as a value of PENSTOCK_CATALOGUE; a path is absolute."""
    embedded: bool
    trace_file: Path | None
    """None when spans are not written to a file."""
    collector: str | None
    """The URL to which spans are sent by OTLP, without a password; None when they are not sent."""
    simulator: ServiceSpec | None
    simulator_url: str | None
    encoder: ServiceSpec | None
    """None: no provider of the catalogue is the local encoder, or its libraries are not installed."""
    encoder_url: str | None
    router: ServiceSpec
    workers: tuple[ServiceSpec, ...]
    edge: ServiceSpec | None
    ledger: ServiceSpec | None
    """None: the catalogue has no budgets."""
    guard: ServiceSpec | None
    """None: the catalogue has no section `guard`."""
    indexer: ServiceSpec | None
    """None: the catalogue has no section `retrieval`, or the libraries of the indexer are not installed."""
    notes: tuple[str, ...] = ()
    """What does not start, and why."""
    ports: PortAllocator
    """Keeps the ports of the services from other programs."""

    @property
    def log_dir(self) -> Path:
        return self.data / "logs"

    def stages(self, nats_url: str) -> list[list[ServiceSpec]]:
        """In starting order: workers list the provider's models and need the streams that the router creates. The guard
        loads its models while the workers start.
        """
        second = [*self.workers, *(spec for spec in (self.guard, self.indexer, self.edge) if spec)]
        first = [
            spec for spec in (self.simulator, self.encoder, self.router, self.ledger) if spec is not None
        ]
        return [
            [replace(spec, env={**spec.env, "NATS_URL": nats_url}) for spec in stage]
            for stage in (first, second)
        ]


def make_plan(
    data: Path,
    env: Mapping[str, str],
    *,
    per_role: bool = False,
    workers: int = 1,
    simulator: bool = True,
    edge: bool = False,
) -> Plan:
    """`workers`: processes that serve all roles, unless `per_role`. `edge`: serve HTTP clients.

    Raises ConfigurationRefused with every mistake in `env`, and LaunchError where libraries of the guard are missing,
    before anything starts.
    """
    data = data.absolute()
    settings = _settings(env, edge=edge)
    ports = PortAllocator()
    simulated = _LocalProvider.of(_SIMULATOR_URL, env, ports, start=simulator)
    encoder = _LocalProvider.of(_ENCODER_URL, env, ports, start=True)
    catalogue = read_catalogue(None, {**env, **simulated.environment, **encoder.environment})
    simulated, encoder = simulated.if_used(catalogue), encoder.if_used(catalogue)
    _check_variables(env, catalogue, simulated, encoder)
    if catalogue.guard is not None and (problem := missing_libraries_text(GUARD)):
        raise LaunchError(problem)
    trace_file = _trace_file(data, env, settings)
    own = {**env, **code_path(env), **_own_environment(env, trace_file)}
    own |= {**simulated.environment, **encoder.environment, **_index_location(data, env, catalogue)}

    def service(name: str, kind: str, *arguments: str) -> ServiceSpec:
        return ServiceSpec(
            name, service_argv(kind, *arguments), {**own, "PENSTOCK_HTTP_PORT": str(ports.take())}
        )

    without_encoder = missing_libraries_text(ENCODER) if encoder.port else ""
    without_indexer = "" if catalogue.retrieval is None else missing_libraries_text(INDEX)
    expected = () if simulator else ("--no-simulator",)  # the simulator may be started later
    served = [(f"worker-{role}", role) for role in catalogue.roles] if per_role else _workers_of_all(workers)
    return Plan(
        data=data,
        settings=settings,
        catalogue=catalogue,
        catalogue_setting=_catalogue_setting(env),
        embedded=not env.get("NATS_URL"),
        trace_file=trace_file,
        collector=_collector(env, settings),
        simulator=_simulator(simulated, catalogue, own) if simulated.port else None,
        simulator_url=simulated.url,
        encoder=_encoder(encoder, own) if encoder.port and not without_encoder else None,
        encoder_url=encoder.url,
        router=service("router", "router"),
        edge=service("edge", "edge", *_edge_arguments(env, ports)) if edge else None,
        ledger=service("ledger", "ledger") if catalogue.budgets is not None else None,
        guard=service("guard", "guard") if catalogue.guard is not None else None,
        indexer=service("indexer", "indexer")
        if catalogue.retrieval is not None and not without_indexer
        else None,
        notes=_notes(without_encoder, without_indexer),
        ports=ports,
        workers=tuple(service(name, "worker", "--role", role, *expected) for name, role in served),
    )


def _settings(env: Mapping[str, str], *, edge: bool) -> Settings:
    """Raises ConfigurationRefused with the mistakes of all services, and of the edge if it is started."""
    env = env if env.get("NATS_URL") else {**env, **NO_NATS_AUTH}
    check_each(env, check_process_settings, *([load_edge_settings] if edge else []))
    return load_settings(env)


def _check_variables(
    env: Mapping[str, str], catalogue: Catalogue, simulated: _LocalProvider, encoder: _LocalProvider
) -> None:
    """The variables of the local providers that are started, and those that the catalogue names."""
    local = ((simulated, load_simulator_settings), (encoder, load_encoder_settings))
    loads = [load for provider, load in local if provider.port]
    check_each(env, partial(check_named_variables, catalogue), *loads)


def _workers_of_all(count: int) -> list[tuple[str, str]]:
    """The names and roles of `count` workers that serve all roles."""
    return [("worker" if count == 1 else f"worker-{number}", "all") for number in range(1, count + 1)]


def _notes(without_encoder: str, without_indexer: str) -> tuple[str, ...]:
    """What does not run because its libraries are missing."""
    reasons = ((_WITHOUT_ENCODER, without_encoder), (_WITHOUT_INDEXER, without_indexer))
    return tuple(note.format(missing) for note, missing in reasons if missing)


def _edge_arguments(env: Mapping[str, str], ports: PortAllocator) -> tuple[str, ...]:
    """A port that was chosen must be free; where the usual one is taken, another one serves as well."""
    return () if env.get("PENSTOCK_EDGE_PORT") else ("--fallback-port", str(ports.take()))


def _catalogue_setting(env: Mapping[str, str]) -> str:
    named = default_catalogue(env)
    return named if named in shipped_catalogues() else str(Path(named).absolute())


class _LocalProvider(Struct, frozen=True):
    """A provider that `penstock up` starts itself, on a free port, unless its variable names another one."""

    variable: str
    port: int | None
    """None: it is not started."""
    url: str | None

    @classmethod
    def of(
        cls, variable: str, env: Mapping[str, str], ports: PortAllocator, *, start: bool
    ) -> _LocalProvider:
        port = ports.take() if start and not env.get(variable) else None
        return cls(variable, port, f"http://127.0.0.1:{port}" if port else env.get(variable) or None)

    @property
    def environment(self) -> dict[str, str]:
        return {} if self.url is None else {self.variable: self.url}

    def if_used(self, catalogue: Catalogue) -> _LocalProvider:
        """The same, but not started if no provider of the catalogue is at its address."""
        if self.port and not catalogue.providers_at(self.url):
            return _LocalProvider(self.variable, None, None)
        return self


def _simulator(provider: _LocalProvider, catalogue: Catalogue, env: Mapping[str, str]) -> ServiceSpec:
    # The simulator lists the model names of this catalogue, so that workers do not warn of unlisted models.
    simulated = catalogue.providers_at(provider.url)
    names = dict.fromkeys(
        model.name or key for key, model in catalogue.models.items() if model.provider in simulated
    )
    models = env.get("SIMULATOR_MODELS") or ",".join(names)
    speed = {} if any(env.get(name) for name in _SPEED) else VISIBLE_SPEED
    argv = service_argv(_SIMULATOR, "--port", str(provider.port))
    return ServiceSpec(_SIMULATOR, argv, {**env, **speed, "SIMULATOR_MODELS": models})


def _encoder(provider: _LocalProvider, env: Mapping[str, str]) -> ServiceSpec:
    return ServiceSpec(_ENCODER, service_argv(_ENCODER, "--port", str(provider.port)), dict(env))


def _trace_file(data: Path, env: Mapping[str, str], settings: Settings) -> Path | None:
    if not traces_are_chosen(env):
        return data / "traces.jsonl"
    return None if settings.trace_file is None else Path(settings.trace_file).absolute()


def _collector(env: Mapping[str, str], settings: Settings) -> str | None:
    """As OpenTelemetry's exporter finds it."""
    if settings.traces != "otlp":
        return None
    base = env.get("OTEL_EXPORTER_OTLP_ENDPOINT") or "http://localhost:4318"
    return without_userinfo(
        env.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or f"{base.removesuffix('/')}/v1/traces"
    )


def _index_location(data: Path, env: Mapping[str, str], catalogue: Catalogue) -> dict[str, str]:
    """The index is with the other data of the system, unless the catalogue or the environment says where it is."""
    store = None if catalogue.retrieval is None else catalogue.retrieval.store
    if store is None or store.kind != "lancedb" or store.location != Store().location or env.get(_INDEX):
        return {}
    return {_INDEX: str(data / "index")}


def _own_environment(env: Mapping[str, str], trace_file: Path | None) -> dict[str, str]:
    # Every process chooses its own name: one PENSTOCK_INSTANCE would name them all alike.
    own = {"PENSTOCK_INSTANCE": ""}
    if trace_file is not None:
        own["PENSTOCK_TRACES"] = f"file:{trace_file}"
    if not env.get("NATS_URL"):
        own |= NO_NATS_AUTH  # the embedded server has no authentication
    return own
