from __future__ import annotations

import os
from pathlib import Path

from services.guard.__main__ import main
from services.guard.settings import cache_directory

ROOT = Path(__file__).parents[3]


def test_k4_the_rules_are_compiled_into_the_cache_and_the_image_is_built_with_them():
    # Not into a new cache, which takes 5 s of CPU: a guard of another test may have filled this one.
    assert main(["--compile-rules"]) == 0
    assert list(cache_directory(os.environ).iterdir())
    assert "-m services.guard --compile-rules" in (ROOT / "deploy/Dockerfile").read_text()
