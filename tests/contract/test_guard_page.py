"""The page about the guard agrees with the code."""

from __future__ import annotations

import re
from pathlib import Path

from penstock.cli.guard.labelled_set import read_labelled_set
from penstock.contract.guard.policies import ACTIONS, CATEGORIES, DETECTORS, KINDS, LOCAL_DETECTORS
from penstock.runtime.config.guard import Guard, LocalDetector
from tests.contract.documents import ROOT, blocks
from tests.unit.runtime.config.example import RIGHT, load

PAGE = ROOT / "docs/guard.md"


def table_after(heading: str) -> list[list[str]]:
    """The cells of the rows of the first table below a heading."""
    text = PAGE.read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = [line.strip("|").split(" | ") for line in text.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in row] for row in rows]


def test_g1_every_category_kind_and_detector_is_listed():
    names = re.findall(
        r"`([\w/-]+)`", PAGE.read_text().partition("\n## What is found\n")[2].partition("\n## ")[0]
    )
    for category in CATEGORIES:
        assert category in names
    assert {kind for kinds in KINDS.values() for kind in kinds} <= set(names)
    assert set(DETECTORS) <= set(names)


def test_g2_every_action_is_explained():
    assert [row[0] for row in table_after("Actions")] == [f"`{action}`" for action in ACTIONS]


def test_g2_the_guard_sections_of_the_documents_are_valid():
    (section,) = blocks(PAGE, "yaml")
    assert load(RIGHT + section).guard is not None
    for example in blocks(ROOT / "deploy/catalogues/README.md", "yaml"):
        if example.startswith("guard:"):
            assert load(RIGHT + example).guard is not None


def test_g2_every_key_of_the_section_is_explained_with_its_default():
    rows = {
        name: row
        for row in table_after("The section of the catalogue")
        for name in re.findall(r"`([\w.<>]+)`", row[0])
    }
    keys = {name.split(".")[0] for name in rows}
    assert keys == set(Guard.__struct_fields__)
    defaults = Guard()
    assert f"`{defaults.mode}`" in rows["mode"][2]
    for name in ("wait_s", "moderation_window_characters"):
        assert f"`{getattr(defaults, name):g}`" in rows[name][2]
    times = rows["detectors.<name>.timeout_s"][2]
    local, model = defaults.detectors.secrets, defaults.detectors.safety_model
    assert times == f"`{local.timeout_s:g}`, of models `{model.timeout_s:g}`"
    unavailable = rows["detectors.<name>.when_unavailable"][2]
    assert unavailable == f"`{local.when_unavailable}`, of models `{model.when_unavailable}`"
    assert {detector.timeout_s for detector in _local(defaults)} == {local.timeout_s}
    assert {detector.when_unavailable for detector in _local(defaults)} == {local.when_unavailable}
    for direction in (defaults.input, defaults.output):
        for category, action in direction.items():
            assert f"`{category}: {action}`" in rows["input"][2]


def _local(guard: Guard) -> list[LocalDetector]:
    return [getattr(guard.detectors, name) for name in LOCAL_DETECTORS]


def test_g1_the_example_of_a_labelled_set_is_valid(tmp_path: Path):
    (lines,) = blocks(PAGE, "json")
    (tmp_path / "set.jsonl").write_text(lines)
    examples = read_labelled_set(tmp_path / "set.jsonl")
    assert len(examples) == 5
    label = examples[0].labels[0]
    assert examples[0].text[label.start : label.end] == "DE89 3704 0044 0532 0130 00"
