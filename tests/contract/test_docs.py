"""The documents agree with the repository."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path

import pytest

from penstock.cli.budget.options import LIMIT_OPTIONS
from penstock.cli.parser import make_parser
from penstock.contract.errors import ERRORS
from penstock.contract.streams import STREAMS
from penstock.runtime.config.load import read_catalogue
from penstock.runtime.config.problems import ConfigurationRefused
from penstock.runtime.config.retrieval import Store
from penstock.runtime.config.settings import load_settings
from services.edge.http.errors import EDGE_ERRORS
from services.edge.settings import load_edge_settings
from services.indexer.settings import store_url
from tests.contract.documents import DOCUMENTS, ROOT, blocks, code
from tests.contract.environment import Asked
from tests.unit.runtime.config.example import RIGHT, load

NAMES = [str(path.relative_to(ROOT)) for path in DOCUMENTS]


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_to_existing_files(name: str) -> None:
    targets = re.findall(r"\]\(([^)\s]+)\)", (ROOT / name).read_text())
    for target in targets:
        if not target.startswith(("http://", "https://", "#")):
            assert ((ROOT / name).parent / target.split("#")[0]).exists(), target


@pytest.mark.parametrize("name", NAMES)
def test_make_targets_exist(name: str) -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"^make ([\w-]+)", code(ROOT / name), re.MULTILINE))
    assert named <= targets


@pytest.mark.parametrize(
    "name", [each for each in NAMES if re.match(r"(docs|docs/decisions|services/\w+)/[^/]+$", each)]
)
def test_lines_of_prose_have_at_most_120_characters(name: str) -> None:
    text = re.sub(r"^ *```.*?^ *```$", "", (ROOT / name).read_text(), flags=re.MULTILINE | re.DOTALL)
    prose = (line for line in text.splitlines() if not line.lstrip().startswith("|"))
    assert [line for line in prose if len(line) > 120] == []


def accepted(arguments: str) -> bool:
    try:
        make_parser().parse_args(shlex.split(arguments, comments=True))
    except SystemExit as end:
        return end.code == 0  # of --help and --version
    return True


@pytest.mark.parametrize("name", NAMES)
def test_penstock_accepts_every_command_of_the_documents(name: str) -> None:
    for line in re.findall(r"^(?:\$ |\.venv/bin/)*penstock (.+)$", code(ROOT / name), re.MULTILINE):
        assert accepted(line), line


def test_k2_the_python_examples_compile() -> None:
    for example in blocks(ROOT / "README.md", "python"):
        compile(example, "README.md", "exec")


def test_k6_the_complete_catalogues_of_the_documents_are_valid(tmp_path: Path) -> None:
    examples = [
        text for text in blocks(ROOT / "deploy/catalogues/README.md", "yaml") if text.startswith("name:")
    ]
    assert len(examples) == 2
    for example in examples:
        (tmp_path / "mine.yaml").write_text(example)
        assert read_catalogue(tmp_path / "mine.yaml", {}).name == "mine"


def test_f3_the_budgets_of_the_documents_are_valid_and_every_limit_is_explained() -> None:
    page = ROOT / "docs/budgets.md"
    (section,) = blocks(page, "yaml")
    assert load(RIGHT + section).budgets is not None
    named = set(
        re.findall(r"^\| `([a-z_]+)`.*\|$", page.read_text().split("## The section")[0], re.MULTILINE)
    )
    assert named == set(LIMIT_OPTIONS)


def functions(path: Path) -> set[str]:
    return {
        node.name
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def test_the_life_of_a_request_names_functions_that_exist() -> None:
    named = re.findall(r"`((?:\w+/)+\w+\.py):(\w+)`", (ROOT / "ARCHITECTURE.md").read_text())
    assert len(named) > 20
    for file, function in named:
        assert function in functions(ROOT / file), f"{file}:{function}"


def tree_of_the_architecture_page() -> dict[str, set[str]]:
    """Each folder of the tree with its Python files."""
    (tree,) = blocks(ROOT / "ARCHITECTURE.md")
    files: dict[str, set[str]] = {}
    folder = ""
    for line in tree.splitlines():
        if line and not line.startswith(" "):
            folder = line.split()[0].rstrip("/")
            files[folder] = set()
        else:
            files[folder] |= set(re.findall(r"\w+\.py\b", line))
    return files


def test_the_tree_names_every_folder_and_file() -> None:
    named = tree_of_the_architecture_page()
    modules = [path for top in ("penstock", "services") for path in (ROOT / top).rglob("*.py")]
    for folder in {str(path.parent.relative_to(ROOT)) for path in modules}:
        there = {path.name for path in (ROOT / folder).glob("*.py")} - {"__init__.py"}
        assert named.get(folder) == there, folder
    assert all((ROOT / folder).is_dir() for folder in named)


@pytest.mark.parametrize(
    "readme", sorted(ROOT.glob("services/*/README.md")), ids=lambda path: path.parent.name
)
def test_a_services_readme_names_files_that_exist(readme: Path) -> None:
    """A bare name is a file of the service or of the package `penstock`; a name with a folder is a path."""
    folders = (readme.parent, ROOT / "penstock")
    existing = {path.name for folder in folders for path in folder.rglob("*.py")}
    for named in re.findall(r"`([\w/]+\.py)`", readme.read_text()):
        found = (
            (readme.parent / named).is_file() or (ROOT / named).is_file()
            if "/" in named
            else named in existing
        )
        assert found, named


def test_k6_the_table_of_variables_is_complete() -> None:
    env = Asked({})
    load_settings(env)
    load_edge_settings(env)
    store_url(Store(), env)
    with pytest.raises(ConfigurationRefused):
        store_url(Store(kind="postgres"), env)
    rows = re.findall(r"^\| (`[A-Z].*?) \|", (ROOT / "docs/configuration.md").read_text(), re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == env.names


def test_d9_the_seconds_of_an_exit_are_those_of_the_code_and_add_up() -> None:
    """A supervisor's grace period is set from this table."""
    table = (
        (ROOT / "docs/configuration.md").read_text().partition("while NATS is away or frozen, at most:")[2]
    )
    rows = re.findall(r"^\| (.+) \| (.*?)\| (.*?)\|$", table.partition("\n\nThe rest")[0], re.MULTILINE)
    sums = [0, 0]
    for what, *cells in rows[:-1]:
        (file, name), times = re.findall(r"`([\w/]+\.py):(\w+)`", what)[0], 2 if "twice" in what else 1
        (written,) = re.findall(
            rf"^{name}(?:: Final)? = (\d+)(?:\.0)?$", (ROOT / file).read_text(), re.MULTILINE
        )
        stated = [int(cell.split()[0]) if cell.strip() else 0 for cell in cells]
        assert set(stated) - {0} == {int(written) * times}, name
        sums = [so_far + seconds for so_far, seconds in zip(sums, stated, strict=True)]
    assert [int(cell.split()[0]) for cell in rows[-1][1:]] == sums
    assert len(rows) == 6
    assert max(sums) < 15


SIZE = re.compile(r"([\d.]+) G[iB]+(?= together| in all|\.$)", re.MULTILINE)


@pytest.mark.parametrize(
    "name",
    [
        "penstock/contract/streams.py",
        "deploy/nats/nats.conf",
        "docs/configuration.md",
        "docs/decisions/0002-file-storage.md",
    ],
)
def test_the_documented_size_is_the_sum_of_all_streams(name: str) -> None:
    """Disks are planned with this figure."""
    size_gib = sum(stream.max_bytes for stream in STREAMS) / 2**30
    assert SIZE.findall((ROOT / name).read_text()) == [f"{size_gib:.1f}"]


def test_d10_error_codes_are_listed_by_their_retry_advice() -> None:
    text = (ROOT / "docs/failure.md").read_text()
    for retry in ("never", "later", "elsewhere"):
        (row,) = re.findall(rf"^\| `{retry}` \|.*\|(.*)\|$", text, re.MULTILINE)
        expected = {name for name, error in ERRORS.items() if error.retry == retry}
        assert set(re.findall(r"`(\w+)`", row)) == expected


def test_d10_the_table_of_http_errors_has_every_code_of_the_edge_at_its_status() -> None:
    errors = (ROOT / "docs/http.md").read_text().partition("\n## Errors\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([0-9, ]+) \|([^|]*)\|", errors, re.MULTILINE)
    documented = {
        code: set(map(int, statuses.split(", ")))
        for statuses, codes in rows
        for code in re.findall(r"`(\w+)`", codes)
    }
    statuses: dict[str, int] = {code: spec.http_status for code, spec in ERRORS.items()}
    statuses |= {code: spec.status for code, spec in EDGE_ERRORS.items()}
    assert set(EDGE_ERRORS) <= documented.keys() <= statuses.keys()
    assert [code for code, found in documented.items() if statuses[code] not in found] == []


def test_decisions_have_their_parts() -> None:
    pages = sorted((ROOT / "docs/decisions").glob("*.md"))
    numbers = [page.name[:4] for page in pages]
    assert sorted(set(numbers)) == numbers, "two pages have one number"
    for page in pages:
        text = page.read_text()
        assert text.startswith(f"# {page.name[:4]} ")
        for part in ("Decision", "Consequences", "Alternatives"):
            assert f"**{part}.**" in text, (page.name, part)


def test_every_named_promise_is_listed_once() -> None:
    rows = re.findall(
        r"^\| ([A-K]\d+) \| .+ \| (\w+)[^|]* \|$", (ROOT / "docs/requirements.md").read_text(), re.MULTILINE
    )
    promises = [name for name, _ in rows]
    named = {
        found.upper()
        for folder in ("penstock", "services", "tests")
        for path in (ROOT / folder).rglob("*.py")
        for groups in re.findall(r"[(,] ?([A-K]\d+)(?=[,)])|def test_([a-k]\d+)_", path.read_text())
        for found in groups
        if found
    }
    assert len(set(promises)) == len(promises) > 60
    assert named <= set(promises)
    assert {state for _, state in rows} == {"stands", "partly", "later"}
