"""The processes that `penstock up` starts, and their environment."""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path

import pytest
from msgspec.structs import replace

from penstock.bus.auth import NatsAuth
from penstock.cli.errors import CommandError, LaunchError
from penstock.cli.local import up as up_command
from penstock.cli.local.plan import make_plan
from penstock.cli.local.up import startup_text
from penstock.runtime.config.problems import ConfigurationRefused
from penstock.runtime.config.shipped import shipped_catalogues
from penstock.runtime.processes.extras import ENCODER, GUARD, INDEX, missing_libraries_text
from penstock.runtime.runtime_file import RuntimeFile
from tests.harness.processes.catalogues import catalogue

QUOTAS = Path(__file__).resolve().parents[4] / "docs" / "quotas.md"
INCOMPLETE = ("json", "no_such_module")


def names(plan):
    return [[spec.name for spec in stage] for stage in plan.stages("nats://127.0.0.1:4222")]


def test_the_default_plan_needs_no_settings(tmp_path):
    plan = make_plan(tmp_path, {})

    assert plan.embedded
    assert names(plan) == [["simulator", "encoder", "router", "ledger"], ["worker", "guard", "indexer"]]
    assert plan.workers[0].argv[-2:] == ("--role", "all")
    assert plan.trace_file == tmp_path / "traces.jsonl"


def test_k2_up_starts_the_edge_with_a_fallback_port(tmp_path):
    plan = make_plan(tmp_path, {}, edge=True)

    assert names(plan) == [
        ["simulator", "encoder", "router", "ledger"],
        ["worker", "guard", "indexer", "edge"],
    ]
    assert plan.edge is not None
    assert plan.edge.argv[-2] == "--fallback-port"


def test_f1_a_ledger_is_started_where_the_catalogue_has_budgets(tmp_path):
    config = tmp_path / "catalogue.yaml"
    env = {"PENSTOCK_CATALOGUE": str(config), "PENSTOCK_SIMULATOR_URL": "http://127.0.0.1:1"}
    config.write_text(catalogue())
    assert make_plan(tmp_path, env).ledger is None
    config.write_text(catalogue(budgets={}))
    assert names(make_plan(tmp_path, env))[0] == ["router", "ledger"]


def test_h2_the_local_encoder_is_started_where_the_catalogue_has_it(tmp_path):
    plan = make_plan(tmp_path, {})
    assert plan.encoder is not None
    assert plan.encoder.argv[-3:-1] == ("services.encoder", "--port")
    assert plan.encoder_url == f"http://127.0.0.1:{plan.encoder.argv[-1]}"
    assert plan.catalogue.providers["local"].base_url == f"{plan.encoder_url}/v1"
    assert plan.workers[0].env["PENSTOCK_ENCODER_URL"] == plan.encoder_url
    without = make_plan(tmp_path, {"PENSTOCK_CATALOGUE": "openai", "OPENAI_API_KEY": "k"})
    assert without.encoder is None
    assert without.encoder_url is None
    assert "PENSTOCK_ENCODER_URL" not in without.workers[0].env


def test_h2_no_encoder_is_started_where_its_address_is_set(tmp_path):
    plan = make_plan(tmp_path, {"PENSTOCK_ENCODER_URL": "http://127.0.0.1:1"})
    assert plan.encoder is None
    assert plan.catalogue.providers["local"].base_url == "http://127.0.0.1:1/v1"
    assert plan.workers[0].env["PENSTOCK_ENCODER_URL"] == "http://127.0.0.1:1"


def test_h2_without_its_libraries_the_rest_starts_and_a_note_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr("penstock.cli.local.plan.ENCODER", replace(ENCODER, modules=INCOMPLETE))
    plan = make_plan(tmp_path, {})
    assert names(plan)[0] == ["simulator", "router", "ledger"]
    (note,) = plan.notes
    assert note.startswith("Note: no encoder is started")
    assert "(no_such_module): install the extra encoder" in note


def guarded_catalogue(directory):
    config = directory / "guarded.yaml"
    config.write_text(catalogue(guard={}))
    return {"PENSTOCK_CATALOGUE": str(config), "PENSTOCK_SIMULATOR_URL": "http://127.0.0.1:1"}


def test_g4_a_guard_is_started_where_the_catalogue_has_one(tmp_path):
    plan = make_plan(tmp_path, guarded_catalogue(tmp_path), edge=True)
    assert names(plan) == [["router"], ["worker", "guard", "edge"]]
    assert plan.guard is not None
    assert plan.guard.argv[-1] == "services.guard"


def test_g4_missing_libraries_of_the_guard_are_named_before_anything_starts(tmp_path, monkeypatch):
    env = guarded_catalogue(tmp_path)
    monkeypatch.setattr("penstock.cli.local.plan.GUARD", replace(GUARD, modules=INCOMPLETE))
    with pytest.raises(LaunchError, match=r"\(no_such_module\): install the extra guard"):
        make_plan(tmp_path, env)
    assert missing_libraries_text(GUARD) == ""


def indexed_catalogue(directory, **section):
    config = directory / "indexed.yaml"
    config.write_text(catalogue(retrieval=section))
    return {"PENSTOCK_CATALOGUE": str(config), "PENSTOCK_SIMULATOR_URL": "http://127.0.0.1:1"}


def test_h3_an_indexer_is_started_where_the_catalogue_has_retrieval_with_its_store_in_the_data(tmp_path):
    plan = make_plan(tmp_path, indexed_catalogue(tmp_path), edge=True)
    assert names(plan) == [["router"], ["worker", "indexer", "edge"]]
    assert plan.indexer is not None
    assert plan.indexer.argv[-1] == "services.indexer"
    assert plan.indexer.env["PENSTOCK_INDEX_LOCATION"] == str(tmp_path / "index")
    assert plan.notes == ()


@pytest.mark.parametrize(
    ("section", "env"),
    [
        ({"store": {"location": "s3://bucket/index"}}, {}),
        ({"store": {"kind": "postgres"}}, {}),
        ({}, {"PENSTOCK_INDEX_LOCATION": "/data/index"}),
    ],
)
def test_h3_a_store_elsewhere_stays_there(tmp_path, section, env):
    plan = make_plan(tmp_path, indexed_catalogue(tmp_path, **section) | env)
    assert plan.indexer is not None
    assert plan.indexer.env.get("PENSTOCK_INDEX_LOCATION") == env.get("PENSTOCK_INDEX_LOCATION")


def test_h3_without_the_libraries_of_the_indexer_the_rest_starts_and_a_note_says_what_to_install(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("penstock.cli.local.plan.INDEX", replace(INDEX, modules=INCOMPLETE))
    plan = make_plan(tmp_path, indexed_catalogue(tmp_path))
    assert plan.indexer is None
    assert names(plan) == [["router"], ["worker"]]
    (note,) = plan.notes
    assert note.startswith("Note: no indexer is started, and requests that need one fail: ")
    assert "(no_such_module): install the extra index (pip install 'penstock[index]'" in note
    assert missing_libraries_text(INDEX) == ""


def test_k2_a_chosen_port_of_the_edge_has_no_fallback(tmp_path):
    plan = make_plan(tmp_path, {"PENSTOCK_EDGE_PORT": "9999"}, edge=True)

    assert plan.edge is not None
    assert "--fallback-port" not in plan.edge.argv


def test_k6_wrong_settings_of_every_service_are_refused_before_anything_starts(tmp_path):
    wrong = {"PENSTOCK_EDGE_PORT": "abc", "PENSTOCK_DRAIN_S": "soon"}
    with pytest.raises(ConfigurationRefused) as caught:
        make_plan(tmp_path, wrong, edge=True)
    assert {problem.key for problem in caught.value.problems} == wrong.keys()
    assert make_plan(tmp_path, {"PENSTOCK_EDGE_PORT": "abc"}).edge is None
    wrong = {"SIMULATOR_PORT": "abc", "PENSTOCK_ENCODER_THREADS": "0"}
    with pytest.raises(ConfigurationRefused) as caught:
        make_plan(tmp_path, wrong)
    assert {problem.key for problem in caught.value.problems} == wrong.keys()
    elsewhere = {"PENSTOCK_SIMULATOR_URL": "http://127.0.0.1:1", "SIMULATOR_PORT": "abc"}
    assert make_plan(tmp_path, elsewhere).simulator is None


@pytest.mark.parametrize(("port", "is_taken"), [(8080, False), (40123, True)])
def test_k2_the_startup_text_has_a_curl_line_and_python(tmp_path, port, is_taken):
    plan = make_plan(tmp_path, {}, edge=True)
    address = f"http://127.0.0.1:{port}"
    running = RuntimeFile(nats_url="nats://127.0.0.1:4222", embedded=True, pid=1, edge=address)
    text = startup_text(plan, running, env={})

    assert f"curl -N {address}/v1/chat/completions" in text
    assert f'base_url="{address}/v1"' in text
    assert 'api_key="any"' in text
    assert ("Port 8080 is taken" in text) == is_taken


def test_k5_the_startup_text_with_keys_says_how_to_get_one(tmp_path):
    plan = make_plan(tmp_path, {}, edge=True)
    running = RuntimeFile(
        nats_url="nats://127.0.0.1:4222",
        embedded=True,
        pid=1,
        edge="http://127.0.0.1:8080",
        edge_needs_key=True,
    )
    text = startup_text(plan, running, env={})

    assert f"export API_KEY=$(penstock keys create --data {tmp_path})" in text
    assert '-H "authorization: Bearer $API_KEY"' in text
    assert 'api_key=os.environ["API_KEY"]' in text
    assert '"any"' not in text


def test_per_role_starts_a_worker_for_each_role(tmp_path):
    plan = make_plan(tmp_path, {}, per_role=True)

    roles = {spec.argv[-1] for spec in plan.workers}
    assert {"chat", "coding", "creative", "embed"} <= roles
    assert len({spec.name for spec in plan.workers}) == len(roles) == len(plan.catalogue.roles)


@pytest.mark.parametrize(
    "env",
    [
        {"GROQ_API_KEY": "k"},
        {"OPENAI_API_KEY": "k"},
        {"PENSTOCK_CATALOGUE": "groq"},
        {"PENSTOCK_SIMULATOR_URL": "http://127.0.0.1:1"},
    ],
)
def test_no_simulator_where_another_provider_is_configured(tmp_path, env):
    started = names(make_plan(tmp_path, env))[0]
    assert [name for name in started if name != "encoder"] == ["router", "ledger"]


def test_no_simulator_with_the_option(tmp_path):
    plan = make_plan(tmp_path, {}, simulator=False)
    assert names(plan)[0] == ["encoder", "router", "ledger"]
    assert plan.workers[0].argv[-1] == "--no-simulator", "the workers start without one"


def test_the_simulator_catalogue_starts_it_despite_a_key(tmp_path):
    plan = make_plan(tmp_path, {"GROQ_API_KEY": "k", "PENSTOCK_CATALOGUE": "simulator"})

    assert names(plan)[0] == ["simulator", "encoder", "router", "ledger"]


def own_catalogue(directory):
    """A copy of the simulator's with a limit, made by the recipe of docs/quotas.md."""
    recipe = re.search(
        r"^sed '.*' deploy/catalogues/simulator.yaml > own.yaml$", QUOTAS.read_text(), re.MULTILINE
    )
    assert recipe is not None
    file = directory / "own.yaml"
    command = recipe[0].replace("own.yaml", str(file))
    subprocess.run(["sh", "-c", command], cwd=QUOTAS.parents[1], check=True)
    return file


def test_a_custom_catalogue_with_the_simulators_address_starts_it(tmp_path):
    own = own_catalogue(tmp_path)

    plan = make_plan(tmp_path, {"PENSTOCK_CATALOGUE": str(own)})

    assert names(plan)[0] == ["simulator", "encoder", "router", "ledger"]
    assert plan.catalogue.models["sim-fast-small"].limits.requests_per_minute == 5
    assert plan.catalogue.providers["simulator"].base_url == f"{plan.simulator_url}/v1"
    assert plan.workers[0].env["PENSTOCK_SIMULATOR_URL"] == plan.simulator_url
    assert "sim-chat-small" in plan.simulator.env["SIMULATOR_MODELS"]


def test_no_simulator_where_its_address_is_set(tmp_path):
    own = own_catalogue(tmp_path)
    env = {"PENSTOCK_CATALOGUE": str(own), "PENSTOCK_SIMULATOR_URL": "http://127.0.0.1:1"}

    plan = make_plan(tmp_path, env)

    assert names(plan)[0] == ["encoder", "router", "ledger"]
    text = startup_text(plan, RuntimeFile(nats_url="nats://127.0.0.1:4222", embedded=True, pid=1))
    assert "simulator at http://127.0.0.1:1/v1" in text


def test_the_startup_text_names_the_provider_addresses(tmp_path):
    plan = make_plan(tmp_path, {"PENSTOCK_CATALOGUE": "groq"})

    text = startup_text(plan, RuntimeFile(nats_url="nats://127.0.0.1:4222", embedded=True, pid=1))

    assert "groq at its SDK's default address" in text


@pytest.mark.parametrize(
    ("env", "first_token_ms", "tokens_per_second"),
    [
        ({}, "150", "120"),
        ({"SIMULATOR_TOKENS_PER_SECOND": "0"}, None, "0"),
        ({"SIMULATOR_LATENCY_MS": "5"}, None, None),
    ],
)
def test_the_simulator_streams_at_a_visible_speed_unless_configured(
    tmp_path, env, first_token_ms, tokens_per_second
):
    simulator = make_plan(tmp_path, env).simulator

    assert simulator is not None
    assert simulator.env.get("SIMULATOR_FIRST_TOKEN_MS") == first_token_ms
    assert simulator.env.get("SIMULATOR_TOKENS_PER_SECOND") == tokens_per_second


def test_every_process_has_its_own_port_and_the_same_server(tmp_path):
    plan = make_plan(tmp_path, {"PENSTOCK_HTTP_PORT": "8080", "PENSTOCK_INSTANCE": "one"}, per_role=True)

    specs = [spec for stage in plan.stages("nats://127.0.0.1:7") for spec in stage]
    ports = [spec.env["PENSTOCK_HTTP_PORT"] for spec in specs if spec.name != "simulator"]
    assert len(set(ports)) == len(ports)
    assert {spec.env["NATS_URL"] for spec in specs} == {"nats://127.0.0.1:7"}
    assert {spec.env["PENSTOCK_INSTANCE"] for spec in specs} == {""}, "each process chooses its own name"


def test_an_external_server_keeps_its_credentials(tmp_path):
    plan = make_plan(tmp_path, {"NATS_URL": "nats://there:4222", "NATS_USER": "me", "NATS_PASSWORD": "x"})

    assert not plan.embedded
    assert plan.settings.nats_auth == NatsAuth(user="me", password="x")
    assert plan.router.env["NATS_USER"] == "me"


def test_the_embedded_server_has_no_credentials(tmp_path):
    env = make_plan(tmp_path, {"NATS_CREDENTIALS": "/creds", "NATS_TOKEN": "t"}).router.env
    assert NatsAuth.from_env(env) == NatsAuth()


def test_traces_are_sent_to_a_configured_collector(tmp_path):
    plan = make_plan(tmp_path, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"})

    assert plan.trace_file is None
    assert "PENSTOCK_TRACES" not in plan.router.env


@pytest.mark.parametrize(
    ("env", "url"),
    [
        ({"PENSTOCK_TRACES": "otlp"}, "http://localhost:4318/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://u:secret@here:4318/"}, "http://…@here:4318/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://here:1/spans"}, "http://here:1/spans"),
    ],
)
def test_the_startup_text_has_the_url_of_the_collector(tmp_path, env, url):
    plan = make_plan(tmp_path, env)

    text = startup_text(plan, RuntimeFile(nats_url="nats://127.0.0.1:4222", embedded=True, pid=1))

    assert plan.collector == url
    assert f"OTLP to {url}\n" in text


def test_mistakes_are_reported_before_anything_starts(tmp_path):
    with pytest.raises(ConfigurationRefused, match="no shipped catalogue"):
        make_plan(tmp_path, {"PENSTOCK_CATALOGUE": "grok"})


def test_the_startup_text_has_all_addresses_and_paths(tmp_path):
    plan = make_plan(tmp_path, {})
    runtime_file = RuntimeFile(
        nats_url="nats://127.0.0.1:4999",
        embedded=True,
        pid=1,
        services={"router": "http://127.0.0.1:11", "worker": "http://127.0.0.1:12"},
        simulator="http://127.0.0.1:13",
    )

    text = startup_text(plan, runtime_file, port_taken=True)

    for part in (
        "nats://127.0.0.1:4999",
        "Port 4222 is taken",
        f"--data {tmp_path}",
        "NATS_URL=nats://127.0.0.1:4999",
        "http://127.0.0.1:12/metrics",
        "http://127.0.0.1:11/health",
        "http://127.0.0.1:13/sim/counts",
        str(tmp_path / "traces.jsonl"),
        str(tmp_path / "logs"),
    ):
        assert part in text
    assert "Port 4222" not in startup_text(plan, runtime_file), "another port was requested"


def test_the_plan_records_the_catalogue(tmp_path, monkeypatch):
    assert make_plan(tmp_path, {}).catalogue_setting == "simulator"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.yaml").write_text(shipped_catalogues()["simulator"].read_text())
    assert make_plan(tmp_path, {"PENSTOCK_CATALOGUE": "own.yaml"}).catalogue_setting == str(
        tmp_path / "own.yaml"
    )


def test_the_roles_of_the_catalogue_are_listed(tmp_path):
    plan = make_plan(tmp_path, {})

    text = startup_text(plan, RuntimeFile(nats_url="nats://127.0.0.1:4222", embedded=True, pid=1))

    assert ", ".join(plan.catalogue.roles) in text


def test_the_simulator_lists_the_models_of_the_catalogue(tmp_path):
    plan = make_plan(tmp_path, {})

    assert plan.simulator is not None
    listed = plan.simulator.env["SIMULATOR_MODELS"].split(",")
    simulated = {key: model for key, model in plan.catalogue.models.items() if model.provider == "simulator"}
    assert {model.name or key for key, model in simulated.items()} == set(listed)


def test_configured_simulator_models_are_kept(tmp_path):
    simulator = make_plan(tmp_path, {"SIMULATOR_MODELS": "one,two"}).simulator

    assert simulator is not None
    assert simulator.env["SIMULATOR_MODELS"] == "one,two"


def test_a_missing_key_is_noted_before_anything_starts(tmp_path, monkeypatch, capsys):
    def stop(*_, **__):
        raise CommandError("not in this test")

    monkeypatch.setattr(up_command, "LocalSystem", stop)
    with pytest.raises(CommandError):
        up_command.up(tmp_path, per_role=False, simulator=False, env={"PENSTOCK_CATALOGUE": "groq"})

    written, give_up_s = "", time.monotonic() + 5
    while not written and time.monotonic() < give_up_s:  # by a thread
        written += capsys.readouterr().err
    assert written == "Note: provider groq has no key: set GROQ_API_KEY.\n"
