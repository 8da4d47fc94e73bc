from __future__ import annotations

from pathlib import Path

import pytest

from services.guard.__main__ import main


def test_k4_the_rules_are_compiled_into_the_cache_for_an_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert main(["--compile-rules"]) == 0
    assert list((tmp_path / "penstock-guard").iterdir())
