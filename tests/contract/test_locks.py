"""What is installed is what was resolved: every requirement pinned with hashes, and no index in the lock."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ["runtime.lock", "dev.lock"])
def test_every_requirement_is_pinned_with_hashes_and_no_address_is_named(name: str) -> None:
    text = (ROOT / "requirements" / name).read_text()
    pinned = re.findall(
        r"^([A-Za-z0-9._-]+)==\S+.*\\\n(?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+", text, re.MULTILINE
    )
    named = re.findall(r"^([A-Za-z0-9._-]+)(?:==|>=|@| )", text, re.MULTILINE)
    assert len(pinned) > 40
    assert pinned == named
    assert "://" not in text
    assert not re.search(r"^-", text, re.MULTILINE), "no option that points somewhere"


def test_the_runtime_lock_is_part_of_the_development_lock() -> None:
    pins = [
        dict(
            re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", (ROOT / "requirements" / name).read_text(), re.MULTILINE)
        )
        for name in ("runtime.lock", "dev.lock")
    ]
    assert pins[0].items() <= pins[1].items()
