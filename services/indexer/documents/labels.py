"""What media types and file names say about the format of a document."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from services.indexer.documents.document import Format

__all__ = ["Label", "label_of_media_type", "label_of_name"]


class Label(Struct, frozen=True):
    format: Format
    language: str = ""


_FORMATS: Final[dict[str, Format]] = {
    "text/html": "html",
    "application/xhtml+xml": "html",
    "application/pdf": "pdf",
    "application/x-pdf": "pdf",
    "text/markdown": "markdown",
    "text/x-markdown": "markdown",
    "text/csv": "csv",
    "text/tab-separated-values": "csv",
    "application/json": "json",
    "text/json": "json",
    "application/x-ndjson": "json_lines",
    "application/ndjson": "json_lines",
    "application/jsonl": "json_lines",
    "application/x-jsonlines": "json_lines",
    "application/json-lines": "json_lines",
}

_LANGUAGES: Final = {
    "text/css": "css",
    "text/javascript": "javascript",
    "application/javascript": "javascript",
    "application/typescript": "typescript",
    "application/sql": "sql",
    "application/x-sh": "shell",
    "application/xml": "xml",
    "text/xml": "xml",
    "application/yaml": "yaml",
    "application/toml": "toml",
    "text/x-python": "python",
    "application/x-python-code": "python",
    "text/x-c": "c",
    "text/x-c++": "cpp",
    "text/x-java-source": "java",
    "text/x-go": "go",
    "text/x-rust": "rust",
    "text/x-ruby": "ruby",
    "text/x-shellscript": "shell",
}

_FORMATS_BY_EXTENSION: Final[dict[str, Format]] = {
    **dict.fromkeys(("htm", "html", "xhtml", "shtml"), "html"),
    **dict.fromkeys(("md", "markdown", "mdown", "mkd", "mdx", "qmd"), "markdown"),
    **dict.fromkeys(("json", "geojson", "ipynb"), "json"),
    **dict.fromkeys(("jsonl", "ndjson"), "json_lines"),
    **dict.fromkeys(("csv", "tsv"), "csv"),
    **dict.fromkeys(("txt", "text", "log", "rst", "adoc", "asc"), "text"),
    "pdf": "pdf",
}

_EXTENSIONS_BY_LANGUAGE: Final = {
    "python": "py pyi pyx",
    "javascript": "js mjs cjs jsx",
    "typescript": "ts tsx mts cts",
    "java": "java",
    "kotlin": "kt kts",
    "scala": "scala",
    "go": "go",
    "rust": "rs",
    "c": "c h",
    "cpp": "cc cpp cxx hh hpp hxx",
    "csharp": "cs",
    "ruby": "rb",
    "php": "php",
    "swift": "swift",
    "shell": "sh bash zsh fish",
    "powershell": "ps1",
    "sql": "sql",
    "lua": "lua",
    "r": "r",
    "julia": "jl",
    "dart": "dart",
    "elixir": "ex exs",
    "erlang": "erl",
    "haskell": "hs",
    "ocaml": "ml mli",
    "clojure": "clj",
    "perl": "pl pm",
    "vue": "vue",
    "svelte": "svelte",
    "css": "css scss less",
    "xml": "xml xsd xsl",
    "yaml": "yaml yml",
    "toml": "toml",
    "ini": "ini cfg conf",
    "terraform": "tf",
    "protobuf": "proto",
    "graphql": "graphql gql",
    "groovy": "groovy gradle",
    "zig": "zig",
    "nix": "nix",
}
_LANGUAGE_BY_EXTENSION: Final = {
    extension: language
    for language, extensions in _EXTENSIONS_BY_LANGUAGE.items()
    for extension in extensions.split()
}
_LANGUAGE_BY_FILE: Final = {"dockerfile": "dockerfile", "makefile": "makefile", "rakefile": "ruby"}


def label_of_media_type(media_type: str) -> Label | None:
    """`media_type` without parameters, in lower case. None: it says nothing, as `application/octet-stream`."""
    if media_type in _FORMATS:
        return Label(_FORMATS[media_type])
    if language := _LANGUAGES.get(media_type):
        return Label("code", language)
    if media_type.endswith("+json"):
        return Label("json")
    return None


def label_of_name(name: str) -> Label | None:
    """Of a file name, a path or an address."""
    file = name.partition("?")[0].partition("#")[0].replace("\\", "/").rpartition("/")[2].lower()
    extension = file.rpartition(".")[2] if "." in file else ""
    if extension in _FORMATS_BY_EXTENSION:
        return Label(_FORMATS_BY_EXTENSION[extension])
    language = _LANGUAGE_BY_EXTENSION.get(extension) or _LANGUAGE_BY_FILE.get(file.partition(".")[0])
    return Label("code", language) if language else None
