"""The shapes of code, traces and formulas, looked for in the text as it was written."""

from __future__ import annotations

from typing import Final

from services.router.classification.rule import clue

__all__ = ["SHAPES"]

# The tables read best with one clue a line, however long its expression.
# ruff: noqa: E501
# fmt: off

_FILES: Final = (
    "py js ts tsx jsx go rs java cpp hpp cs php rb sql sh yml yaml json toml html css ipynb kt swift vue lua"
)

_NOT_MATHS_CALL: Final = "".join(rf"(?<!{name}\()" for name in ("sin", "cos", "tan", "log", "exp", "qrt"))
_AFTER_LOWER_CASE: Final = "|".join(rf"(?<=\b[a-z]{{{length}}}[A-Z])" for length in range(2, 10))

SHAPES: Final = (
    clue("code", 3, "a code block", "```", r"```"),
    clue("code", 1, "inline code", "`", r"`[^`\n]{1,80}`"),
    clue("code", 3, "a traceback", "Traceback|.java:|.js:", r"Traceback \(most|\bat [\w.$<>]{1,80} ?\([\w./]{1,80}:\d"),
    clue("code", 3, "an exception", "Error|Exception", r"\b[A-Z][a-z]\w{0,40}(?:Error|Exception)\b"),
    clue("code", 3, "`def`", "def ", r"^[ \t]{0,32}(?:async )?def \w{1,60}\("),
    clue("code", 3, "a class", "class ", r"\bclass [A-Z]\w{0,60} ?(?:[({:]|extends)"),
    clue("code", 3, "a function", "function |function(|func |fn |lambda ", r"(?:function|func|fn) \w{2,60}[(<]|function\((?!s\))|lambda \w{0,20}:"),
    clue("code", 1, "`import`", "import ", r"^[ \t]{0,8}import [\w.]{1,60};?$"),
    clue("code", 3, "`import`", "import ", r"^[ \t]{0,8}(?:from [\w.]{1,60} import |import [\w.]{1,60} as |import .{1,60} from ['\"])"),
    clue("code", 3, "`#include`", "#include", r"#include ?[<\"]"),
    clue("code", 3, "SQL", "SELECT|INSERT|UPDATE|DELETE|CREATE|ALTER", r"\bSELECT\b[^;]{1,200}\bFROM\b|\bINSERT INTO\b|\bUPDATE \w{1,60} SET\b|\bDELETE FROM\b|\b(?:CREATE|ALTER) (?:TABLE|INDEX)\b"),
    clue("code", 3, "SQL", "select ", r"\bselect (?:\*|[\w., ]{1,80}) from \w{1,60} (?:where|join|group by|order by|limit)\b"),
    clue("code", 2, "a file name", ".", rf"\.(?<=[\w-]\.)(?:{_FILES.replace(' ', '|')})\b(?![./])"),
    clue("code", 2, "braces and semicolons", "){|) {|;\n|{\n|}\n|);", r"\) ?\{|[;{}][ \t]{0,8}\n[^\n]{0,200}[;{}]|\w\);"),
    clue("code", 2, "an arrow function", "=>", r"=> ?[\w({\[]"),
    clue("code", 2, "a declaration", "const |let |var ", r"\b(?:const|let|var) [\w{\[][^=\n]{0,40}= ?\S"),
    clue("code", 2, "a loop", "for |for(|while", r"\b(?:for|while) ?\([^)\n]{0,80}[;<>=:]|^\s{0,32}(?:for \w{1,30} in|while) [^\n]{1,80}:$"),
    clue("code", 2, "a method call", "(", r"\.(?<=\w\.)[a-z_]\w{1,40}\("),
    clue("code", 2, "a nested call", "(", r"\((?<=[a-z_]\w\w\()" + _NOT_MATHS_CALL + r"[\w.]{1,40}[\[(]\w"),
    clue("code", 2, "a tag", "</", r"</[a-z][\w-]{0,30}>"),
    clue("code", 2, "a comparison", "==|!=|&&", r"[=!&](?:==|[=&]) ?[\w\"'(!]"),
    clue("code", 2, "an order of growth", "O(", r"\bO\((?:n|N|1|log)"),
    clue("maths", 2, "a formula", "\\|$", r"\\(?:frac|int|sum|sqrt|lim|cdot|alpha|begin)\b|\$[^$\n]{0,80}[\\^_=][^$\n]{0,80}\$"),
    clue("maths", 2, "a formula", "∫|∑|√|∀|∃|∞|≤|≥|²|³", r"[∫∑√∀∃∞≤≥²³]"),
    clue("code", 1, "a name in camel case", "", rf"[A-Z](?:{_AFTER_LOWER_CASE})[a-z]\w"),
    clue("code", 1, "a name in snake case", "_", r"_(?<=[a-z]_)[a-z]\w{1,40}\b"),
)
