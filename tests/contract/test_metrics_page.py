"""J2: docs/metrics.md lists every metric of the code, with its labels."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_j2_the_metrics_page_is_up_to_date():
    checked = subprocess.run(
        [sys.executable, "docs/generate_metrics.py", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr


def test_j2_every_metric_of_an_alert_is_on_the_metrics_page():
    rules = (ROOT / "deploy/prometheus/rules.yml").read_text()
    listed = set(re.findall(r"^\| `(penstock_\w+)`", (ROOT / "docs/metrics.md").read_text(), re.MULTILINE))
    named = {re.sub(r"_(bucket|sum|count)$", "", name) for name in re.findall(r"\bpenstock_\w+", rules)}
    assert named
    assert named <= listed
