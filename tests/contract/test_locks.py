"""Every requirement in the locks is pinned with hashes, and no lock names an index."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(("name", "least"), [("runtime.lock", 40), ("dev.lock", 60), ("build.lock", 2)])
def test_every_requirement_is_pinned_with_hashes_and_without_index(name: str, least: int) -> None:
    text = (ROOT / "requirements" / name).read_text()
    pinned = re.findall(
        r"^([A-Za-z0-9._-]+)==\S+.*\\\n(?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+", text, re.MULTILINE
    )
    named = re.findall(r"^([A-Za-z0-9._-]+)(?:==|>=|@| )", text, re.MULTILINE)
    assert len(pinned) > least
    assert pinned == named
    assert "://" not in text
    assert not re.search(r"^-", text, re.MULTILINE), "the lock has no options"


def test_the_other_locks_are_part_of_the_development_lock() -> None:
    pins = [
        dict(
            re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", (ROOT / "requirements" / name).read_text(), re.MULTILINE)
        )
        for name in ("runtime.lock", "build.lock", "dev.lock")
    ]
    assert pins[0].items() <= pins[2].items()
    assert pins[1].items() <= pins[2].items()
    assert {"nats-py", "nkeys", "msgspec", "opentelemetry-api"} <= pins[0].keys()
