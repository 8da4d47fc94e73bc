"""The deployment files match the Compose Specification, the CLI, the settings and the metrics."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from fnmatch import fnmatch
from typing import Any

import jsonschema
import pytest
import yaml
from prometheus_client import CollectorRegistry

from penstock.cli.local.nats_server import find_nats_server
from penstock.contract.errors import ERRORS
from penstock.contract.streams import MAX_PAYLOAD_BYTES, STREAMS
from penstock.runtime.config.load import read_catalogue
from penstock.runtime.config.retrieval import Store
from penstock.runtime.config.settings import load_settings
from penstock.runtime.config.shipped import shipped_catalogues
from services.edge.settings import load_edge_settings
from services.encoder.settings import load_encoder_settings
from services.guard.metrics import GuardMetrics
from services.indexer.metrics import IndexerMetrics
from services.indexer.settings import store_url
from services.ledger.metrics import LedgerMetrics
from services.router.metrics import RouterMetrics
from services.simulator.settings import load as load_simulator_settings
from services.worker.metrics import WorkerMetrics
from tests.contract.compose import COMPOSE, ON_NATS, OURS, ROOT, SERVICES, WORKERS, environment
from tests.contract.environment import Asked

MIB = 1024 * 1024
CALLERS = {**WORKERS, "guard": OURS["guard"]}
"""Services that call providers with keys."""


def seconds(text: str) -> int:
    assert text.endswith("s")
    return int(text.removesuffix("s"))


def test_the_compose_file_follows_the_compose_specification() -> None:
    schema = json.loads((ROOT / "tests/contract/compose_spec/compose-spec.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(COMPOSE)


def test_k4_every_role_has_its_own_worker_service() -> None:
    """Scaling one role is scaling one service."""
    roles = read_catalogue(shipped_catalogues()["simulator"], {}).roles
    expected = {f"worker-{role.replace('_', '-')}": ["run", "worker", "--role", role] for role in roles}
    assert {name: service["command"] for name, service in WORKERS.items()} == expected


@pytest.mark.parametrize("page", ["docker-compose.yml", "deploy/compose.secrets.yml", "README.md"])
def test_k4_services_that_the_catalogue_of_groq_lacks_are_left_out(page: str) -> None:
    """They exit with code 2, and `up --wait` would fail."""
    (line,) = re.findall(r"^.*PENSTOCK_CATALOGUE=groq .*$", (ROOT / page).read_text(), re.MULTILINE)
    catalogue = read_catalogue(shipped_catalogues()["groq"], {})
    lacking = {name for name, worker in WORKERS.items() if worker["command"][-1] not in catalogue.roles}
    if catalogue.retrieval is None:
        lacking.add("indexer")
    assert set(re.findall(r"--scale ([\w-]+)=0", line)) == lacking


def test_k4_workers_can_be_scaled() -> None:
    """A fixed name or host port would make the second replica fail."""
    for name, service in WORKERS.items():
        assert not {"container_name", "ports", "hostname"} & service.keys(), name
        assert "PENSTOCK_INSTANCE" not in service["environment"], name


def test_k5_the_edge_is_published_and_starts_only_on_request() -> None:
    """It serves beyond loopback, so without a key it does not start, and `up --wait` would fail."""
    edge = SERVICES["edge"]
    settings = load_edge_settings(environment(edge))
    assert edge["command"] == ["run", "edge"]
    assert edge["profiles"] == ["edge"]
    assert settings.host == "0.0.0.0"  # noqa: S104 - inside the container
    assert edge["ports"] == [f"127.0.0.1:{settings.port}:{settings.port}"]


@pytest.mark.parametrize("name", ON_NATS)
def test_every_variable_is_read_and_accepted_by_its_process(name: str) -> None:
    env = Asked(environment(OURS[name]))
    settings = load_settings(env)
    read_catalogue(None, env)
    if name == "edge":
        load_edge_settings(env)
    if name == "indexer":
        store_url(Store(), env)
    # Read when a worker creates the providers of its catalogue, or an indexer its store on PostgreSQL.
    keys = {"GROQ_API_KEY", "OPENAI_API_KEY", Store().url_env}
    assert OURS[name]["environment"].keys() <= env.names | keys
    assert settings.traces == "otlp"
    assert settings.http_port == 9464
    assert seconds(OURS[name]["stop_grace_period"]) > settings.drain_s + 5


def test_every_variable_of_the_simulator_is_read_and_accepted() -> None:
    env = Asked(environment(OURS["simulator"]))
    settings = load_simulator_settings(env)
    assert env.keys() <= env.names
    for service in ON_NATS.values():
        assert environment(service)["PENSTOCK_SIMULATOR_URL"] == f"http://simulator:{settings.port}"


def test_k4_the_encoder_is_found_by_every_service_that_reads_the_catalogue() -> None:
    env = Asked(environment(OURS["encoder"]))
    settings = load_encoder_settings(env)
    assert env.keys() <= env.names
    assert seconds(OURS["encoder"]["stop_grace_period"]) > settings.drain_s + 5
    for service in ON_NATS.values():
        assert environment(service)["PENSTOCK_ENCODER_URL"] == f"http://encoder:{settings.port}"


def test_h3_the_index_is_on_a_volume_that_the_image_lets_the_indexer_write() -> None:
    indexer = OURS["indexer"]
    (mount,) = indexer["volumes"]
    volume, directory = mount.split(":")
    assert volume in COMPOSE["volumes"]
    assert environment(indexer)["PENSTOCK_INDEX_LOCATION"].startswith(f"{directory}/")
    assert store_url(Store(), environment(indexer)) == environment(indexer)["PENSTOCK_INDEX_LOCATION"]
    created = [line for line in dockerfile() if line[0] == "RUN" and "install" in line and directory in line]
    assert any(line[line.index("--owner") + 1] == "penstock" for line in created)


def test_a6_keys_come_from_outside_and_only_callers_of_providers_get_them() -> None:
    for name, service in SERVICES.items():
        keys = {
            key: value for key, value in service.get("environment", {}).items() if key.endswith("_API_KEY")
        }
        assert all(value is None for value in keys.values()), name
        assert bool(keys) == (name in CALLERS), name
    assert SERVICES["guard"]["environment"].keys() >= {"OPENAI_API_KEY"}, "of the moderation endpoint"


def test_a6_secrets_are_mounted_in_callers_of_providers_only() -> None:
    text = (ROOT / "deploy/compose.secrets.yml").read_text()
    mounted = yaml.safe_load(text)
    schema = json.loads((ROOT / "tests/contract/compose_spec/compose-spec.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(mounted)
    assert mounted["services"].keys() == CALLERS.keys()
    for name, service in mounted["services"].items():
        assert load_settings(environment(service)).secrets_dir == "/run/secrets"
        keys = {key for key in CALLERS[name]["environment"] if key.endswith("_API_KEY")}
        assert set(service["secrets"]) == keys, "a file for each variable"
        assert keys == mounted["secrets"].keys() or name == "guard"
    for name, secret in mounted["secrets"].items():
        assert secret == {"file": f"./secrets/{name}"}


def test_every_service_is_watched_restarted_and_unprivileged() -> None:
    for name, service in OURS.items():
        env = environment(service)
        names = ("PENSTOCK_HTTP_PORT", "PENSTOCK_ENCODER_PORT", "SIMULATOR_PORT")
        port = next(env[each] for each in names if each in env)
        assert f"http://127.0.0.1:{port}/health" in service["healthcheck"]["test"][-1], name
        assert service["restart"] == "unless-stopped", name
        assert service["cap_drop"] == ["ALL"], name
        assert service["read_only"] is True, name


def test_ports_are_local_and_image_versions_are_pinned() -> None:
    for name, service in SERVICES.items():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
        if name not in OURS:
            assert re.search(r":v?\d+\.\d+", service["image"]), name


def test_mounted_files_and_volumes_exist() -> None:
    for service in SERVICES.values():
        for mount in service.get("volumes", []):
            source = mount.split(":")[0]
            assert (ROOT / source).exists() if source.startswith(".") else source in COMPOSE["volumes"], mount


def test_the_nats_server_accepts_its_configuration() -> None:
    config = ROOT / "deploy/nats/nats.conf"
    checked = subprocess.run(
        [find_nats_server(), "-t", "-c", config], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr


def test_the_nats_server_has_space_for_every_stream() -> None:
    config = (ROOT / "deploy/nats/nats.conf").read_text()
    limits = {
        name: int(value) for name, value in re.findall(r"^\s*(max_\w+): (\d+)[MG]B$", config, re.MULTILINE)
    }
    assert limits["max_payload"] * MIB == MAX_PAYLOAD_BYTES
    assert limits["max_file"] * 1024 * MIB >= sum(stream.max_bytes for stream in STREAMS)


def test_prometheus_finds_every_replica_that_has_metrics() -> None:
    config = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
    (services,), (encoder,) = (job["dns_sd_configs"] for job in config["scrape_configs"])
    assert sorted(services["names"]) == sorted(ON_NATS)
    assert {str(services["port"])} == {
        environment(service)["PENSTOCK_HTTP_PORT"] for service in ON_NATS.values()
    }
    assert encoder["names"] == ["encoder"]
    assert str(encoder["port"]) == environment(OURS["encoder"])["PENSTOCK_ENCODER_PORT"]
    for rules in config["rule_files"]:
        assert (ROOT / "deploy/prometheus" / rules).is_file()


RULES: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((ROOT / "deploy/prometheus/rules.yml").read_text())["groups"]
    for rule in group["rules"]
]


def exported_labels() -> dict[str, set[str]]:
    """Every metric the services export, under the names Prometheus sees, with its labels."""
    exported: dict[str, set[str]] = {}
    for metrics in (RouterMetrics, WorkerMetrics, LedgerMetrics, GuardMetrics, IndexerMetrics):
        registry = CollectorRegistry()
        metrics(registry)
        for name, made in registry._names_to_collectors.items():
            exported.setdefault(name, set()).update(made._labelnames)
    return exported


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_j3_an_alert_uses_exported_metrics_only(rule: dict[str, Any]) -> None:
    """An alert on a metric that no service exports would never fire."""
    exported = exported_labels()
    names = re.findall(r"penstock_\w+", rule["expr"])
    assert names
    assert not set(names) - exported.keys()
    labels = {"job", "instance", "service", "le"}.union(*(exported[name] for name in names))
    grouped = re.findall(r"by \(([^)]*)\)", rule["expr"])
    asked = {label.strip() for labels in grouped for label in labels.split(",")}
    asked |= set(re.findall(r"(\w+)=~?\"", rule["expr"]))
    asked |= set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
    assert asked <= labels


PROMISED = (
    ("PenstockErrorRate", "0.05", "5m", "critical"),
    ("PenstockSlow", "30", "5m", "warning"),
    ("PenstockRetries", "0.2", "10m", "warning"),
    ("PenstockQuota", "0.9", "1m", "warning"),
    ("PenstockBreakerOpen", "2", None, "warning"),
    ("PenstockDeadLetters", "0", None, "warning"),
    ("PenstockKeyOld", "scalar(max(penstock_credential_max_age_days))", None, "warning"),
    ("PenstockKeyRefused", "1", "1m", "warning"),
    ("PenstockBudgetSpent", "1", None, "critical"),
    ("PenstockModelWithdrawn", "1", None, "warning"),
    ("PenstockBudgetNearlyUsed", "0", None, "warning"),
    ("PenstockBudgetUsedUp", "0", None, "critical"),
    ("PenstockBudgetUnavailable", "0", "1m", "critical"),
    ("PenstockLedgerCannotStore", "0", "1m", "critical"),
    ("PenstockLedgerDown", "0", "1m", "critical"),
    ("PenstockLedgerPartitionWithoutOwner", "0", "1m", "critical"),
    ("PenstockLedgerSettlementLag", "1000", "2m", "warning"),
    ("PenstockGuardDown", "0", "1m", "critical"),
    ("PenstockGuardFalseOpens", "0", None, "warning"),
    ("PenstockGuardDetectorFailing", "0.1", "5m", "warning"),
    ("PenstockIndexerDown", "0", "1m", "critical"),
    ("PenstockEmbeddingsFailing", "0.2", "5m", "warning"),
    ("PenstockDocumentsRefused", "0", None, "warning"),
)
"""Alert, threshold, duration and severity."""


@pytest.mark.parametrize(("alert", "above", "for_", "severity"), PROMISED)
def test_j3_an_alert_has_the_promised_threshold(
    alert: str, above: str, for_: str | None, severity: str
) -> None:
    (rule,) = (rule for rule in RULES if rule["alert"] == alert)
    thresholds = re.findall(r"(?:>|==)\s*(scalar\(\S+\)|[\d.]+)", rule["expr"])
    assert set(thresholds) == {above}
    assert (rule.get("for"), rule["labels"]["severity"]) == (for_, severity)


def test_j3_every_alert_is_listed_and_slow_is_the_95th_percentile() -> None:
    assert sorted(row[0] for row in PROMISED) == sorted(rule["alert"] for rule in RULES)
    (slow,) = (rule for rule in RULES if rule["alert"] == "PenstockSlow")
    assert slow["expr"].startswith("histogram_quantile(0.95,")


LABELS = {
    *(
        "role",
        "model",
        "provider",
        "credential",
        "limit",
        "lane",
        "complexity",
        "code",
        "outcome",
        "kind",
        "rule",
        "partition",
        "percent",
        "action",
        "answer",
        "category",
        "detector",
        "direction",
        "why",
        "mode",
        "source",
    ),
}
"""Labels whose values are bounded by the catalogue or the contract."""


@pytest.mark.parametrize(
    "promised",
    [
        "penstock_attempts_total",
        "penstock_breaker_state",
        "penstock_cost_microusd_total",
        "penstock_fallbacks_total",
        "penstock_first_token_seconds",
        "penstock_limit_used_ratio",
        "penstock_mailbox_messages",
        "penstock_queue_wait_seconds",
        "penstock_request_duration_seconds",
        "penstock_requests_total",
        "penstock_retries_total",
        "penstock_router_rejected_total",
        "penstock_tokens_total",
    ],
)
def test_j2_every_promised_metric_is_exported(promised: str) -> None:
    assert promised in exported_labels()


def test_j2_labels_are_bounded() -> None:
    assert set().union(*exported_labels().values()) == LABELS


def test_j3_the_error_rate_excludes_faults_of_the_application() -> None:
    ours = {code for code, error in ERRORS.items() if error.level != "info"}
    (rule,) = (rule for rule in RULES if rule["alert"] == "PenstockErrorRate")
    counted = re.findall(r'=~"([^"]*)"', rule["expr"])
    assert counted
    assert all(set(codes.split("|")) == ours for codes in counted)


def dockerfile() -> Iterator[list[str]]:
    text = (ROOT / "deploy/Dockerfile").read_text()
    joined = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE))
    return (shlex.split(line) for line in joined.splitlines() if line.strip())


def sent_to_the_builder(path: str) -> bool:
    """Whether .dockerignore includes `path`: the last rule that matches it or a parent folder decides."""
    parts = path.split("/")
    above = ["/".join(parts[: count + 1]) for count in range(len(parts))]
    ignored = False
    for rule in (ROOT / ".dockerignore").read_text().splitlines():
        if rule and not rule.startswith("#") and any(fnmatch(each, rule.removeprefix("!")) for each in above):
            ignored = not rule.startswith("!")
    return not ignored


def test_k4_the_image_is_built_from_existing_files() -> None:
    copied = [
        source
        for instruction, *rest in dockerfile()
        if instruction == "COPY" and not rest[0].startswith("--from")
        for source in rest[:-1]
    ]
    assert copied
    for source in copied:
        assert (ROOT / source).exists(), source
        assert sent_to_the_builder(source), source
    assert not sent_to_the_builder("tests/conftest.py")
    assert not sent_to_the_builder(".git/config")


def test_k4_the_image_runs_unprivileged_from_pinned_packages() -> None:
    last_stage: list[list[str]] = []
    for line in dockerfile():
        last_stage = [line] if line[0] == "FROM" else [*last_stage, line]
        if line[0] == "RUN" and "install" in line and "requirements/runtime.lock" in line:
            assert "--require-hashes" in line
    users = [line[1] for line in last_stage if line[0] == "USER"]
    assert users == ["penstock"]
    assert ["ENTRYPOINT", "[penstock]"] in last_stage
    assert not [line for line in last_stage if "pip" in line]
