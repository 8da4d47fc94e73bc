import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.bus.auth import NatsAuth
from penstock.contract.guard.policies import GUARD_ACCOUNT
from penstock.runtime.config.problems import ConfigurationRefused
from penstock.runtime.config.settings import Settings, load_settings


def test_an_empty_environment_gives_the_defaults():
    assert load_settings({}) == Settings()
    assert load_settings({"NATS_URL": "", "PENSTOCK_HTTP_PORT": ""}) == Settings()


def test_every_setting_can_be_set():
    assert load_settings(
        {
            "NATS_URL": "nats://me:secret@one:4222,tls://[::1]:4223",
            "NATS_USER": "me",
            "NATS_PASSWORD": "secret",
            "NATS_TOKEN": "t",
            "PENSTOCK_ACCOUNT": "acme",
            "PENSTOCK_INSTANCE": "worker-1",
            "PENSTOCK_HTTP_HOST": "::",
            "PENSTOCK_HTTP_PORT": "8080",
            "PENSTOCK_TRACES": "file:traces.jsonl",
            "PENSTOCK_TRACE_SAMPLE_RATIO": "0.1",
            "PENSTOCK_TRACE_TAIL_SAMPLING": "off",
            "PENSTOCK_TRACE_SLOW_S": "2.5",
            "PENSTOCK_LOG_LEVEL": "WARNING",
            "PENSTOCK_DRAIN_S": "5.5",
            "PENSTOCK_ACK_WAIT_S": "30",
            "PENSTOCK_MAX_DELIVER": "3",
            "PENSTOCK_STREAM_REPLICAS": "3",
            "PENSTOCK_QUOTA": "local",
            "PENSTOCK_SECRETS_DIR": "/",
            "PENSTOCK_SECRETS_POLL_S": "1",
            "PENSTOCK_KEY_MAX_AGE_DAYS": "30",
        }
    ) == Settings(
        nats_url="nats://me:secret@one:4222,tls://[::1]:4223",
        nats_auth=NatsAuth(user="me", password="secret", token="t"),
        account="acme",
        instance="worker-1",
        http_host="::",
        http_port=8080,
        traces="file",
        trace_file="traces.jsonl",
        trace_sample_ratio=0.1,
        trace_tail_sampling="off",
        trace_slow_s=2.5,
        log_level="warning",
        drain_s=5.5,
        ack_wait_s=30,
        max_deliver=3,
        stream_replicas=3,
        quota="local",
        secrets_dir="/",
        secrets_poll_s=1,
        key_max_age_days=30,
    )


@pytest.mark.parametrize(
    ("env", "traces"),
    [
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://j:4318"}, "otlp"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://j:4318/v1/traces"}, "otlp"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://j:4318", "PENSTOCK_TRACES": "off"}, "off"),
        ({"PENSTOCK_TRACES": "otlp"}, "otlp"),
    ],
)
def test_traces_follow_the_opentelemetry_variables_by_default(env, traces):
    assert load_settings(env).traces == traces


WRONG = {
    "NATS_URL": "http://host:4222",
    "PENSTOCK_ACCOUNT": "a.b",
    "PENSTOCK_INSTANCE": "two words",
    "PENSTOCK_HTTP_PORT": "70000",
    "PENSTOCK_TRACES": "jaeger",
    "PENSTOCK_TRACE_SAMPLE_RATIO": "nan",
    "PENSTOCK_TRACE_TAIL_SAMPLING": "yes",
    "PENSTOCK_TRACE_SLOW_S": "0",
    "PENSTOCK_LOG_LEVEL": "warn",
    "PENSTOCK_DRAIN_S": "-1",
    "PENSTOCK_ACK_WAIT_S": "10s",
    "PENSTOCK_MAX_DELIVER": "9" * 5000,
    "PENSTOCK_STREAM_REPLICAS": "0",
    "PENSTOCK_QUOTA": "both",
    "PENSTOCK_SECRETS_POLL_S": "0",
    "PENSTOCK_KEY_MAX_AGE_DAYS": "a year",
}


@pytest.mark.parametrize("name", ["PENSTOCK_ACCOUNT", "PENSTOCK_INSTANCE"])
def test_d10_a_name_is_as_long_as_a_token_of_a_subject_may_be(name):
    load_settings({name: "x" * 64})
    with pytest.raises(ConfigurationRefused, match=f"{name} = .*Fix: use 1 to 64 of A-Z"):
        load_settings({name: "x" * 65})


def test_all_mistakes_are_reported_together():
    with pytest.raises(ConfigurationRefused) as caught:
        load_settings(WRONG)
    assert {problem.key for problem in caught.value.problems} == set(WRONG)
    assert 'environment: PENSTOCK_LOG_LEVEL = "warn": is not a log level. Fix: write warning' in str(
        caught.value
    )


@pytest.mark.parametrize(
    "url", ["nats://me:hunter2@", "me:hunter2 @host", "http://me:hunter2@host", "x://a:hunter2@b"]
)
def test_an_invalid_address_does_not_show_its_password(url):
    with pytest.raises(ConfigurationRefused) as caught:
        load_settings({"NATS_URL": url})
    assert "hunter2" not in str(caught.value)


def test_a_renamed_variable_is_reported_with_its_new_name():
    with pytest.raises(ConfigurationRefused) as caught:
        load_settings({"PENSTOCK_REPLICAS": "3", "PENSTOCK_TRACE_RATIO": "0.5"})
    assert str(caught.value).splitlines() == [
        'environment: PENSTOCK_REPLICAS = "3": has a new name. Fix: set PENSTOCK_STREAM_REPLICAS.',
        'environment: PENSTOCK_TRACE_RATIO = "0.5": has a new name. Fix: set PENSTOCK_TRACE_SAMPLE_RATIO.',
    ]


@given(st.dictionaries(st.sampled_from(sorted(WRONG)), st.text(max_size=12)))
def test_any_environment_is_read_or_rejected(env):
    try:
        settings = load_settings(env)
    except ConfigurationRefused as refused:
        blamed = {problem.key for problem in refused.problems}
    else:
        blamed = set()
        assert msgspec.convert(msgspec.to_builtins(settings), Settings) == settings
    assert blamed <= set(env)


def test_g4_no_service_uses_the_account_of_the_guard() -> None:
    with pytest.raises(ConfigurationRefused, match=r"PENSTOCK_ACCOUNT.*guard's own account"):
        load_settings({"PENSTOCK_ACCOUNT": GUARD_ACCOUNT})
