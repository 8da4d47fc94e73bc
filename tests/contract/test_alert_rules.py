"""J3: the alert rules fire when they should, by Prometheus's own tests of rules."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

RULES = Path(__file__).parents[2] / "deploy/prometheus"


@pytest.fixture(scope="module")
def promtool() -> str:
    """Skip on a machine without it; in CI, fail."""
    found = shutil.which("promtool")
    if found is None:
        missing = "promtool is not installed: it is in the package prometheus of Debian and Ubuntu"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    return found


def run(*command: str) -> None:
    env = {**os.environ, "GOGC": "800"}  # a quarter of the CPU time would be garbage collections
    ended = subprocess.run(command, cwd=RULES, env=env, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_j3_prometheus_accepts_the_rules(promtool: str):
    run(promtool, "check", "rules", "rules.yml")


def test_j3_alerts_fire_when_they_should(promtool: str):
    run(promtool, "test", "rules", "rules_test.yml")


def test_j3_every_alert_is_tested():
    alerts = {
        rule["alert"]
        for group in yaml.safe_load((RULES / "rules.yml").read_text())["groups"]
        for rule in group["rules"]
    }
    tests = yaml.safe_load((RULES / "rules_test.yml").read_text())["tests"]
    fired = {case["alertname"] for test in tests for case in test["alert_rule_test"] if case["exp_alerts"]}
    assert fired == alerts
