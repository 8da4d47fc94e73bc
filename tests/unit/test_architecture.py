"""The house keeps its shape: imports one way, policy without I/O, honest names, small rooms."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit import architecture_rules as rules

ROOT = Path(__file__).parents[2]
SOURCES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts): path
    for package in rules.ORDER
    for path in sorted((ROOT / package).rglob("*.py"))
}
TREES = {module: ast.parse(path.read_bytes()) for module, path in SOURCES.items()}

EVERY_SERVICE = frozenset({"__main__", "app", "handlers"})
IO_MODULES = {
    "router": EVERY_SERVICE | {"counting", "explanation", "liveness", "mailboxes", "queueing", "sweeper"},
    "worker": EVERY_SERVICE
    | {"announcing", "recording", "takeover", "leases.store", "tiers.crossings"}
    | {"calls.groq_sdk", "calls.openai_sdk", "calls.sdk", "calls.transport"},
    "simulator": EVERY_SERVICE,
    "launcher": EVERY_SERVICE
    | {"dead_command", "dead_letters", "explain_command", "jobs_command", "session", "status_command"},
}
"""The modules of a service that may speak to the broker or an SDK. Every other one, new ones too, is policy."""
FOR_APPLICATIONS = frozenset({"penstock.__init__", "services.launcher.__main__"})
"""What they export is for people and for the `penstock` script, which are not in this repository."""


def problems(rule: Callable[[str, ast.Module], list[str]], *packages: str) -> list[str]:
    return [
        problem
        for module, tree in TREES.items()
        if rules.package_of(module) in (packages or rules.ORDER)
        for problem in rule(module, tree)
    ]


def test_the_house_was_found():
    assert {rules.package_of(module) for module in TREES} == set(rules.ORDER)
    assert len(TREES) > 100


def test_imports_run_one_way():
    assert problems(rules.wrong_ways) == []


def test_rooms_of_the_worker_know_each_other_one_way():
    rooms = {"limits": set[str](), "leases": {"limits"}, "tiers": {"limits"}, "keys": {"limits"}}
    rooms["calls"] = {"limits", "keys"}
    wrong = [
        f"{module} imports {name}"
        for module, tree in TREES.items()
        for _, name in rules.imports(tree)
        if (room := rules.room_of(module)) in rooms
        and (other := rules.room_of(name)) in rooms
        and other not in rooms[room] | {room}
    ]
    assert wrong == []


def test_policy_knows_neither_the_broker_nor_an_sdk():
    def rule(module: str, tree: ast.Module) -> list[str]:
        service = module.split(".")[1]
        return rules.impure(module, tree, IO_MODULES.get(service, EVERY_SERVICE))

    assert problems(rule, "services") == []


def test_all_is_honest():
    def rule(module: str, tree: ast.Module) -> list[str]:
        return [] if module.endswith(".__main__") else rules.dishonest_all(module, tree)

    assert problems(rule) == []


def test_all_lists_only_what_somebody_imports():
    exporting = {module: TREES[module] for module in TREES.keys() - FOR_APPLICATIONS}
    tests = [ast.parse(path.read_bytes()) for path in (ROOT / "tests").rglob("*.py")]
    assert rules.idle_exports(exporting, [*TREES.values(), *tests]) == []


def test_nothing_is_swallowed_by_a_bare_except():
    assert problems(rules.bare_excepts) == []


def test_subjects_are_written_in_the_contract_only():
    assert problems(rules.subject_literals, "penstock", "services") == []


def test_modules_are_named_after_what_they_do():
    assert rules.bad_names([*SOURCES.values(), *(path.parent for path in SOURCES.values())]) == []


def test_rooms_are_small():
    lines = {module: len(path.read_bytes().splitlines()) for module, path in SOURCES.items()}
    assert rules.too_large(lines) == []


# Each rule must be able to fail.


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("schemas.a", "import penstock"),
        ("schemas.a", "from services.router import role"),
        ("schemas.a", "import nats.errors"),
        ("schemas.a", "def f():\n    from yaml import load"),
        ("schemas.a", "from . import b"),
        ("penstock.a", "from services.router import role"),
        ("penstock.a", "import services"),
        ("services.router.a", "from services.worker.selection import Selection"),
        ("services.router.a", "from services import worker"),
        ("services.router.a", "import services.worker.selection"),
    ],
)
def test_a_wrong_way_is_found(module: str, source: str):
    assert len(rules.wrong_ways(module, ast.parse(source))) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        (
            "schemas.a",
            "import re, msgspec\nfrom schemas.names import Role\nfrom collections.abc import Iterable",
        ),
        ("penstock.a", "import nats\nfrom schemas import subjects\nfrom penstock import errors"),
        ("services.router.a", "from services.router.role import resolve\nfrom penstock.clock import Clock"),
        ("services.launcher.a", "from services.worker import app"),
    ],
)
def test_a_right_way_is_let_through(module: str, source: str):
    assert rules.wrong_ways(module, ast.parse(source)) == []


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
def test_a_dishonest_all_is_found(source: str):
    assert rules.dishonest_all("a", ast.parse(source)) != []


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
def test_an_honest_all_is_let_through(source: str):
    assert rules.dishonest_all("a", ast.parse(source)) == []


@pytest.mark.parametrize(
    "reader",
    [
        "from schemas.a import Kept",
        "from schemas.a import Kept as K",
        "if TYPE_CHECKING:\n    from schemas.a import Kept",
        "from schemas import a\nx = a.Kept",
        "from schemas import a as b\ndef f(y: b.Kept): ...",
        "import schemas.a\nx = schemas.a.Kept",
    ],
)
def test_what_nobody_imports_is_found_in_all(reader: str):
    exporting = {"schemas.a": ast.parse("__all__ = ['Idle', 'Kept']\nIdle = 1\nKept = Idle")}
    assert rules.idle_exports(exporting, [ast.parse(reader)]) == [
        "schemas.a: nobody imports Idle, which __all__ lists"
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
def test_a_name_that_says_nothing_is_found(name: str):
    assert len(rules.bad_names([Path("penstock", name)])) == 1


def test_large_rooms_are_found():
    assert rules.too_large({"a": 401, **{f"m{n}": 10 for n in range(20)}}) == ["a has 401 lines"]
    assert rules.too_large({**{f"s{n}": 10 for n in range(16)}, **{f"l{n}": 300 for n in range(4)}}) != []
    assert rules.too_large({f"m{n}": 91 for n in range(20)}) != []
    assert rules.too_large({f"m{n}": 90 for n in range(20)}) == []
