"""Reads YAML text as plain data with line numbers.

It is stricter than YAML in three respects: a key must be unique, tags are rejected, a date stays text. Hostile text
(deep nesting, aliases that multiply) is rejected before it consumes resources.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml
from msgspec import Struct

from penstock.runtime.config.problems import ConfigurationRefused, Problem, joined
from penstock.runtime.config.shipped import shipped_folder

__all__ = ["Document", "read_document"]

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG = "tag:yaml.org,2002:"
_STR, _MERGE = _TAG + "str", _TAG + "merge"
_MAX_DEPTH = 50
"""Levels of nesting; libyaml composes recursively and overruns the C stack on deep nesting."""
_MAX_NODES = 50_000
"""Values in a document, with aliases expanded, so that a page of aliases cannot fill the memory."""
_MAX_WHOLE = 2**63 - 1
_QUOTED_CHARACTERS = 80
_PLACE = re.compile(r"\$\$\{|\$\{(?P<inner>[^}]*)\}|\$\{")
_INNER = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>.*))?", re.DOTALL)


class _InterpolationError(ValueError):
    """A `${...}` that could not be interpolated, with the problem and its fix."""

    def __init__(self, problem: str, fix: str) -> None:
        self.problem = problem
        self.fix = fix
        super().__init__(problem)


def _interpolate(text: str, env: Mapping[str, str]) -> str:
    """Replace `${NAME}` and `${NAME:-default}`; as in a shell, a default also replaces an empty variable.

    `$${` is a literal `${`. Raises _InterpolationError, which names the variable and never its value.
    """

    def fill(place: re.Match[str]) -> str:
        if place[0] == "$${":
            return "${"
        inner = _INNER.fullmatch(place["inner"] or "")
        if inner is None:
            raise _InterpolationError(
                "a ${...} names no environment variable",
                "write ${NAME} or ${NAME:-default}; a literal ${ is written $${",
            )
        name, default = inner["name"], inner["default"]
        if default is not None:
            return env.get(name) or default
        if name not in env:
            raise _InterpolationError(
                f"the environment variable {name} is not set", f"set {name}, or write ${{{name}:-default}}"
            )
        return env[name]

    return _PLACE.sub(fill, text)


class Document(Struct, frozen=True):
    """Plain data with the place and the notation of each key (`roles.chat.chain[0]`)."""

    data: object
    lines: dict[str, int]
    """1-based."""
    written: dict[str, str]
    """Scalars as written: quoting them in an error reveals nothing from the environment."""
    problems: tuple[Problem, ...]


def read_document(text: str, *, source: str, env: Mapping[str, str]) -> Document:
    """Read one YAML document. Raises ConfigurationRefused if it cannot be read at all.

    Mistakes that leave the rest readable (a duplicate key, an unset variable) are in `problems`.
    """
    try:
        _refuse_depth(text, source)
        node = yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise ConfigurationRefused(source, [_syntax_problem(error, text)]) from error
    except UnicodeEncodeError as error:
        problem = Problem(problem="the text is not valid Unicode", fix="save the file as UTF-8")
        raise ConfigurationRefused(source, [problem]) from error
    if node is None:
        problem = Problem(
            problem="the file is empty",
            fix=f"start from a copy of a shipped catalogue, in {shipped_folder()}",
        )
        raise ConfigurationRefused(source, [problem])
    reader = _Reader(source, env)
    data = reader.read(node, "")
    return Document(data, reader.lines, reader.written, tuple(reader.problems))


def _refuse_depth(text: str, source: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > _MAX_DEPTH:
            problem = Problem(
                line=_line(event),
                problem=f"nested more than {_MAX_DEPTH} levels deep",
                fix="a catalogue needs five; look for a bracket or a dash too many",
            )
            raise ConfigurationRefused(source, [problem])


def _syntax_problem(error: yaml.YAMLError, document: str) -> Problem:
    line, text = None, str(error)
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        line = None if mark is None else mark.line + 1
        text = error.problem or error.context or text
        if mark is not None and document[mark.index : mark.index + 1] == "\t":
            fix = "indent with spaces: YAML allows no tabs here"
            return Problem(line=line, problem="not YAML: a tab", fix=fix)
    return Problem(
        line=line,
        problem=f"not YAML: {' '.join(text.split())}",
        fix="look at this line and the one above for indentation, a missing colon or an open quote",
    )


class _Reader:
    """Walks the node graph once and records the line of each key."""

    def __init__(self, source: str, env: Mapping[str, str]) -> None:
        self.lines: dict[str, int] = {}
        self.written: dict[str, str] = {}
        self.problems: list[Problem] = []
        self._source = source
        self._env = env
        self._nodes = 0
        self._above: set[int] = set()
        self._resolver: Any = yaml.SafeLoader("")
        self._constructors = {
            _TAG + "int": self._resolver.construct_yaml_int,
            _TAG + "float": self._resolver.construct_yaml_float,
            _TAG + "bool": self._resolver.construct_yaml_bool,
            _TAG + "null": self._resolver.construct_yaml_null,
        }

    def read(self, node: yaml.Node, path: str) -> object:
        self.lines.setdefault(path, _line(node))
        self._count(node)
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        if id(node) in self._above:
            self._add(node, path, "this alias contains itself", "write the value out")
            return None
        self._above.add(id(node))
        try:
            return self._collection(node, path)
        finally:
            self._above.discard(id(node))

    def _collection(self, node: yaml.Node, path: str) -> object:
        if node.tag not in (_TAG + "map", _TAG + "seq"):
            self._add(node, path, f"{_tag(node)} is not used here", "take the tag away")
            return None
        if isinstance(node, yaml.MappingNode):
            pairs = self._pairs(node, path)
            for key, (key_node, _) in pairs.items():
                self.lines[joined(path, key)] = _line(key_node)
            return {key: self.read(value, joined(path, key)) for key, (_, value) in pairs.items()}
        return [self.read(item, f"{path}[{index}]") for index, item in enumerate(node.value)]

    def _pairs(self, node: yaml.MappingNode, path: str) -> dict[str, tuple[yaml.Node, yaml.Node]]:
        pairs: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        merged: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        for key_node, value_node in node.value:
            self._count(key_node)
            if key_node.tag == _MERGE:
                for source in self._merge_sources(value_node, path):
                    merged = self._pairs(source, path) | merged
                    self._above.discard(id(source))
                continue
            if key_node.tag != _STR:
                fix = "put the key in quotes, if it is meant as a name"
                self._add(key_node, path, f"the key {_shown(key_node)} is not a name", fix)
                continue
            key = str(key_node.value)
            if key in pairs:
                first = _line(pairs[key][0])
                fix = "keep one of the two"
                self._add(key_node, joined(path, key), f"is a duplicate key, first in line {first}", fix)
                continue
            pairs[key] = (key_node, value_node)
        return merged | pairs

    def _merge_sources(self, node: yaml.Node, path: str) -> Iterator[yaml.MappingNode]:
        for source in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            if not isinstance(source, yaml.MappingNode) or id(source) in self._above:
                self._add(source, joined(path, "<<"), "only another mapping can be merged", "name its alias")
                continue
            self._above.add(id(source))
            yield source

    def _scalar(self, node: yaml.ScalarNode, path: str) -> object:
        self.written[path] = _shown(node)
        try:
            text = _interpolate(node.value, self._env)
            plain = node.style is None or node.style == ""
            tag = str(self._resolver.resolve(yaml.ScalarNode, text, (plain, not plain)))
            if node.tag not in (tag, _STR) and text == node.value:
                self._add(node, path, f"{_tag(node)} is not used here", "take the tag away")
                return None
            if tag not in self._constructors or (node.tag == _STR and text == node.value):
                return text
            return self._constructed(tag, text)
        except _InterpolationError as error:
            self._add(node, path, error.problem, error.fix)
        except (ValueError, OverflowError):
            self._add(
                node, path, "is not a number that can be read", "write it in decimal digits, below 2^63"
            )
        return None

    def _constructed(self, tag: str, text: str) -> object:
        value: object = self._constructors[tag](yaml.ScalarNode(tag, text))
        if isinstance(value, int) and abs(value) > _MAX_WHOLE:
            raise OverflowError(tag)
        return value

    def _count(self, node: yaml.Node) -> None:
        self._nodes += 1
        if self._nodes > _MAX_NODES:
            problem = Problem(
                line=_line(node),
                problem=f"more than {_MAX_NODES} values",
                fix="look for aliases that repeat one another",
            )
            raise ConfigurationRefused(self._source, [problem])

    def _add(self, node: yaml.Node, path: str, problem: str, fix: str) -> None:
        line = _line(node)
        self.problems.append(
            Problem(line=line, key=path, value=self.written.get(path), problem=problem, fix=fix)
        )


def _line(place: yaml.Node | yaml.Event) -> int:
    mark = place.start_mark
    return 1 if mark is None else mark.line + 1


def _tag(node: yaml.Node) -> str:
    """The tag by its name only where YAML defines it: `!` may also begin a password that is not in quotes."""
    return f"the tag {node.tag}" if node.tag.startswith(_TAG) else "this tag"


def _shown(node: yaml.Node) -> str:
    if not isinstance(node, yaml.ScalarNode):
        return "(not a scalar)"
    shown = json.dumps(node.value, ensure_ascii=False) if node.tag == _STR else str(node.value)
    return shown if len(shown) <= _QUOTED_CHARACTERS else shown[:_QUOTED_CHARACTERS] + "…"
