from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from penstock.bus.masking import masked_key
from penstock.cli.commands.config import check, print_effective
from penstock.runtime.config.load import read_catalogue
from penstock.runtime.config.printing import catalogue_yaml, settings_yaml
from penstock.runtime.config.settings import Settings
from penstock.runtime.config.shipped import shipped_catalogues
from tests.unit.runtime.config.example import RIGHT, load, spoiled


@pytest.mark.parametrize(
    ("key", "shown"),
    [(None, "not set"), ("", "not set"), ("elevenchars", "set"), ("gsk_01234567", "set (ends …4567)")],
)
def test_what_is_shown_of_a_key(key, shown):
    assert masked_key(key) == shown


def test_the_printed_catalogue_is_complete_and_shows_which_keys_are_set():
    catalogue = load(RIGHT)
    printed = catalogue_yaml(catalogue, {"HERE_KEY": "gsk_0123456789abcdef"})
    assert "- HERE_KEY  # set (ends …cdef)\n" in printed
    assert load(printed) == catalogue
    assert yaml.safe_load(printed)["breaker"]["failure_threshold"] == 5, "defaults are filled in"


@pytest.mark.parametrize("name", shipped_catalogues())
def test_k6_a_printed_catalogue_has_no_nulls_and_passes_the_check(name: str, tmp_path, capsys):
    assert print_effective(Path(name), {}) == 0
    printed = capsys.readouterr().out
    assert "null" not in printed
    (tmp_path / "printed.yaml").write_text(printed)
    assert check(tmp_path / "printed.yaml", {}) == 0
    assert read_catalogue(tmp_path / "printed.yaml", {}) == read_catalogue(Path(name), {})


def test_k6_a_printed_literal_dollar_brace_is_escaped():
    catalogue = load(spoiled("name: mine", "name: $${HOME}"))
    assert load(catalogue_yaml(catalogue, {})) == catalogue


@given(
    st.text(alphabet=st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=12, max_size=60)
)
def test_a_key_is_never_printed(key):
    env = {"HERE_KEY": key}
    text = spoiled("https://here.example/v1", "'https://here.example/${HERE_KEY}/${HERE_KEY}/v1'")
    text = text.replace("name: mine", "name: '${HERE_KEY}'")
    # Read back: YAML's own escapes and line folds must not be what hides it.
    printed = catalogue_yaml(load(text, env), env)
    assert key not in printed
    assert key not in str(yaml.safe_load(printed))


def test_settings_are_printed_without_passwords():
    printed = settings_yaml(Settings(nats_url="nats://me:hunter2@one:4222,nats://token@two:4222"))
    assert yaml.safe_load(printed)["nats_url"] == "nats://…@one:4222,nats://…@two:4222"


def test_check_reports_a_valid_file_and_a_missing_key(tmp_path, capsys):
    (tmp_path / "mine.yaml").write_text(RIGHT)
    assert check(tmp_path / "mine.yaml", {}) == 0
    out, err = capsys.readouterr()
    assert "mine is valid (providers: 1, models: 2, roles: 1)" in out
    assert "provider here has no key: set HERE_KEY" in err


def test_check_reports_mistakes_of_file_and_environment(tmp_path, capsys):
    (tmp_path / "mine.yaml").write_text(spoiled("[large, small]", "[lage]"))
    assert check(tmp_path / "mine.yaml", {"PENSTOCK_HTTP_PORT": "http"}) == 1
    out, err = capsys.readouterr()
    assert not out
    assert "environment: PENSTOCK_HTTP_PORT" in err
    assert 'mine.yaml:15: roles.chat.chain[0] = "lage"' in err
    assert "2 mistakes." in err


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PENSTOCK_HTTP_PORT", "99999"),
        ("NATS_URL", "http://foo"),
        ("PENSTOCK_EDGE_PORT", "99999"),
        ("PENSTOCK_EDGE_PORT", "abc"),
        ("PENSTOCK_EDGE_KEYS", "perhaps"),
        ("PENSTOCK_ENCODER_THREADS", "0"),
        ("PENSTOCK_DRAIN_S", "soon"),
        ("SIMULATOR_PORT", "abc"),
    ],
)
def test_k6_check_reports_a_mistake_in_a_setting_of_any_service_once(tmp_path, capsys, variable, value):
    """Two services read PENSTOCK_DRAIN_S."""
    (tmp_path / "mine.yaml").write_text(RIGHT)
    assert check(tmp_path / "mine.yaml", {variable: value}) == 1
    out, err = capsys.readouterr()
    assert not out
    assert err.count(variable) == 1
    assert err.endswith("1 mistake.\n")


def test_k6_check_reports_the_mistakes_in_variables_that_the_catalogue_names(tmp_path, capsys):
    """Their values may be secrets, and are not repeated."""
    (tmp_path / "mine.yaml").write_text(f"{RIGHT}retrieval: {{store: {{kind: postgres, url_env: INDEX}}}}\n")
    env = {"INDEX": "mysql://me:hunter2@here/x", "HERE_KEY_CREATED": "hunter2"}
    assert check(tmp_path / "mine.yaml", env) == 1
    err = capsys.readouterr().err
    assert "environment: INDEX: is not the URL of a PostgreSQL database" in err
    assert "environment: HERE_KEY_CREATED: is not a date" in err
    assert err.endswith("2 mistakes.\n")
    assert "hunter2" not in err


def test_k6_check_reports_the_mistakes_of_all_services_together(tmp_path, capsys):
    (tmp_path / "mine.yaml").write_text(RIGHT)
    env = dict.fromkeys(("PENSTOCK_HTTP_PORT", "PENSTOCK_EDGE_PORT", "PENSTOCK_ENCODER_PORT"), "abc")
    assert check(tmp_path / "mine.yaml", {**env, "SIMULATOR_LATENCY_MS": "-1"}) == 1
    err = capsys.readouterr().err
    assert [name for name in (*env, "SIMULATOR_LATENCY_MS") if name not in err] == []
    assert err.endswith("4 mistakes.\n")


def test_print_shows_the_effective_configuration(tmp_path, capsys):
    (tmp_path / "mine.yaml").write_text(RIGHT)
    env = {"HERE_KEY": "gsk_0123456789abcdef", "NATS_URL": "nats://me:hunter2@one:4222"}
    assert print_effective(tmp_path / "mine.yaml", env) == 0
    out = capsys.readouterr().out
    assert "# max_deliver: 5\n" in out
    assert yaml.safe_load(out)["name"] == "mine"
    assert "hunter2" not in out
    assert env["HERE_KEY"] not in out


@pytest.mark.parametrize("command", [check, print_effective])
@pytest.mark.parametrize("content", [None, b"\xff\xfe", b"a: [", b"", b"just text"])
def test_a_users_mistake_is_reported_without_a_traceback(tmp_path, capsys, command, content):
    file = tmp_path / "mine.yaml"
    if content is not None:
        file.write_bytes(content)
    assert command(file, {}) == 1
    out, err = capsys.readouterr()
    assert not out
    assert err.startswith(str(file))
    assert "Fix:" in err
    assert "Traceback" not in err


def test_a6_a_key_from_a_file_is_masked_too(tmp_path):
    (tmp_path / "HERE_KEY").write_text("gsk_of_the_file_0001\n")
    env = {"HERE_KEY": "gsk_of_the_environment_0002", "PENSTOCK_SECRETS_DIR": str(tmp_path)}
    text = spoiled("name: mine", "name: '${HERE_KEY} gsk_of_the_file_0001'")
    printed = catalogue_yaml(load(text, env), env)
    assert "gsk_of" not in printed
    assert "- HERE_KEY  # set (ends …0001)\n" in printed


def test_a6_check_finds_keys_in_files_and_invalid_dates(tmp_path, capsys):
    (tmp_path / "mine.yaml").write_text(RIGHT)
    (tmp_path / "HERE_KEY").write_text("gsk_of_the_file_0001\n")
    assert check(tmp_path / "mine.yaml", {"PENSTOCK_SECRETS_DIR": str(tmp_path)}) == 0
    assert "has no key" not in capsys.readouterr().err
    assert check(tmp_path / "mine.yaml", {"HERE_KEY_CREATED": "yesterday"}) == 1
    assert "HERE_KEY_CREATED: is not a date" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("made", "problem"), [("", "does not exist"), ("file", "a file and not a directory")]
)
def test_a6_check_reports_a_secrets_directory_that_cannot_be_used(tmp_path, capsys, made, problem):
    (tmp_path / "mine.yaml").write_text(RIGHT)
    if made:
        (tmp_path / "secrets").write_text("")
    assert check(tmp_path / "mine.yaml", {"PENSTOCK_SECRETS_DIR": str(tmp_path / "secrets")}) == 1
    err = capsys.readouterr().err
    assert "PENSTOCK_SECRETS_DIR" in err
    assert problem in err


@pytest.mark.parametrize(
    ("role", "warned"),
    [("", True), ("parameters: {max_tokens: 500}", False), ("ceilings: {max_tokens: 500}", False)],
)
def test_c4_check_warns_of_a_token_limit_below_the_reserved_output(tmp_path, capsys, role: str, warned: bool):
    text = spoiled("{requests_per_minute: 30}", "{tokens_per_minute: 999}")
    text = text.replace(
        "parameters: {temperature: 0.2}\n    ceilings: {temperature: 0.4}", role or "order_by_complexity: no"
    )
    (tmp_path / "mine.yaml").write_text(text)
    assert check(tmp_path / "mine.yaml", {}) == 0
    assert ("Warning: models.small.limits.tokens_per_minute is 999" in capsys.readouterr().err) == warned
