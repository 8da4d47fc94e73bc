"""H1: which files `penstock index` sends, and under which ids."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from penstock.cli.errors import CommandError
from penstock.cli.retrieval.files import (
    MAX_FILE_BYTES,
    FileSelection,
    check_beginnings,
    find_files,
    read_file,
)
from penstock.cli.retrieval.requests import file_groups, id_groups, read_group
from penstock.contract.retrieval.documents import MAX_DOCUMENTS
from penstock.contract.streams import MAX_BODY_BYTES


def write(folder: Path, **files: bytes | str) -> None:
    for name, content in files.items():
        path = folder / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)


def ids(*paths: Path, **options) -> list[str]:
    return [file.id for file in find_files(FileSelection(paths=paths, **options)).files]


def test_h1_ids_are_paths_below_the_folder_that_was_given(tmp_path):
    write(tmp_path, a_md="a", sub__b_md="b", sub__deep__c_txt="c")
    assert ids(tmp_path) == ["a.md", "sub/b.md", "sub/deep/c.txt"]
    assert ids(tmp_path / "sub") == ["b.md", "deep/c.txt"]
    assert ids(tmp_path / "sub" / "b.md", tmp_path / "a.md") == ["a.md", "b.md"]


def test_h1_hidden_empty_and_generated_files_are_left_out(tmp_path):
    write(tmp_path, a_md="a", empty_md="")
    for folder in (".git", "node_modules", "__pycache__"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "inside.md").write_text("no")
    (tmp_path / ".hidden.md").write_text("no")
    assert ids(tmp_path) == ["a.md"]
    assert ids(tmp_path / ".hidden.md") == [".hidden.md"], "named by the user"


def test_h1_symbolic_links_are_not_followed_unless_they_are_named(tmp_path):
    write(tmp_path, docs__a_md="a", outside_md="secret")
    (tmp_path / "docs" / "loop").symlink_to(tmp_path / "docs")
    (tmp_path / "docs" / "out.md").symlink_to(tmp_path / "outside.md")
    (tmp_path / "docs" / "broken.md").symlink_to(tmp_path / "nowhere")
    (tmp_path / "linked").symlink_to(tmp_path / "docs")
    assert ids(tmp_path / "docs") == ["a.md"]
    assert ids(tmp_path / "linked") == ["a.md"]


def test_h1_a_pipe_is_neither_read_nor_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    write(tmp_path, a_md="a")
    assert ids(tmp_path) == ["a.md"]
    found = find_files(FileSelection(paths=(tmp_path / "pipe",)))
    assert [problem.reason for problem in found.problems] == ["is not a file"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"globs": ("*.md",)}, ["a.md", "guides/b.md", "guides/old/c.md"]),
        ({"globs": ("**/*.md",)}, ["a.md", "guides/b.md", "guides/old/c.md"]),
        ({"globs": ("guides/*",)}, ["guides/b.md", "guides/old/c.md"]),
        ({"globs": ("*.md", "*.txt")}, ["a.md", "guides/b.md", "guides/old/c.md", "n.txt"]),
        ({"exclude": ("old",)}, ["a.md", "guides/b.md", "n.txt"]),
        ({"exclude": ("guides/",)}, ["a.md", "n.txt"]),
        ({"globs": ("*.md",), "exclude": ("guides/old/*",)}, ["a.md", "guides/b.md"]),
    ],
)
def test_h1_patterns_choose_and_exclude(tmp_path, options, expected):
    write(tmp_path, a_md="a", n_txt="n", guides__b_md="b", guides__old__c_md="c")
    assert ids(tmp_path, **options) == expected


def test_h1_a_path_that_does_not_exist_and_two_files_of_one_id_are_errors(tmp_path):
    write(tmp_path, one__a_md="1", two__a_md="2")
    with pytest.raises(CommandError, match="cannot be read: no such file"):
        ids(tmp_path / "nothing")
    with pytest.raises(CommandError, match=r"would both be the document a\.md"):
        ids(tmp_path / "one", tmp_path / "two")
    assert ids(tmp_path / "one", tmp_path / "one") == ["a.md"], "the same file twice is one"


def test_h1_files_that_cannot_be_sent_are_named_with_a_reason(tmp_path):
    write(tmp_path, big_md="x" * 2000, a_md="a")
    (tmp_path / os.fsdecode(b"not-\xff-utf8.md")).write_text("name")
    found = find_files(FileSelection(paths=(tmp_path,), max_bytes=1000))
    assert [file.id for file in found.files] == ["a.md"]
    assert sorted(problem.reason for problem in found.problems) == [
        "has 0.0 MiB, more than 0 MiB",
        "its name is not UTF-8",
    ]


def test_h1_binaries_are_left_out_and_pdf_and_utf_16_are_not(tmp_path):
    write(
        tmp_path,
        a_bin=b"\x7fELF\0\0",
        b_pdf=b"%PDF-1.7\n\0\0",
        c_txt="text".encode("utf-16"),
        d_md="text",
    )
    files = find_files(FileSelection(paths=(tmp_path,))).files
    group = read_group(files, {"team": "docs"})
    assert [document.id for document in group.documents] == ["b.pdf", "c.txt", "d.md"]
    assert group.left_out == ("a.bin",)
    assert all(document.metadata == {"team": "docs"} for document in group.documents)


def test_l5_an_empty_file_that_is_given_itself_is_a_problem(tmp_path):
    write(tmp_path, a_md="")
    (problem,) = find_files(FileSelection(paths=(tmp_path / "a.md",))).problems
    assert (problem.path.name, problem.reason) == ("a.md", "is empty")
    assert find_files(FileSelection(paths=(tmp_path,))).problems == ()


def test_m1_a_damaged_document_is_a_problem_with_its_name(tmp_path):
    write(tmp_path, a_bin=b"\x7fELF\0\0", b_pdf=b"\x93\0\xfe damaged", c_md=b"#\0\0", d_md="text")
    found = find_files(FileSelection(paths=(tmp_path,)))
    group = read_group(found.files, {})
    assert [document.id for document in group.documents] == ["d.md"]
    assert [(each.path.name, each.reason) for each in group.problems] == [
        ("b.pdf", "is binary data, and no PDF document"),
        ("c.md", "is binary data, and no MD document"),
    ]
    assert group.left_out == ("a.bin",)

    checked = check_beginnings(found)
    assert [file.id for file in checked.files] == ["d.md"]
    assert checked.problems == group.problems
    assert checked.left_out == group.left_out


def test_m5_a_document_in_a_format_that_is_not_read_is_a_problem_that_says_what_to_do(tmp_path):
    write(tmp_path, a_docx=b"PK\x03\x04\0\0", b_rtf=b"{\\rtf1 text}", c_doc="plain text", d_md="text")
    found = find_files(FileSelection(paths=(tmp_path,)))
    group = read_group(found.files, {})
    assert [document.id for document in group.documents] == ["c.doc", "d.md"]
    assert [(each.id, each.reason) for each in group.problems] == [
        ("a.docx", "DOCX is not read: save it as PDF, HTML or text, or leave it out by --exclude '*.docx'"),
        ("b.rtf", "RTF is not read: save it as PDF, HTML or text, or leave it out by --exclude '*.rtf'"),
    ]
    assert check_beginnings(found).problems == group.problems


def test_h1_a_file_that_is_gone_when_it_is_read_is_a_problem(tmp_path):
    write(tmp_path, a_md="a")
    (file,) = find_files(FileSelection(paths=(tmp_path,))).files
    file.path.unlink()
    problem = read_file(file)
    assert getattr(problem, "reason", None) == "no such file or directory"


def test_h1_groups_are_bounded_in_bytes_and_number(tmp_path):
    write(tmp_path, **{f"f{number:04}_txt": "x" * 30_000 for number in range(450)})
    files = find_files(FileSelection(paths=(tmp_path,))).files
    groups = list(file_groups(files))
    assert [file for group in groups for file in group] == list(files)
    assert max(map(len, groups)) <= 200
    assert max(sum(file.size for file in group) for group in groups) <= 4 * 1024 * 1024
    assert len(groups) < 6
    ids_ = [str(number) for number in range(2 * MAX_DOCUMENTS + 1)]
    assert [len(group) for group in id_groups(ids_)] == [MAX_DOCUMENTS, MAX_DOCUMENTS, 1]


def test_h1_the_largest_file_fits_a_request_as_base64():
    assert (MAX_FILE_BYTES + 2) // 3 * 4 < MAX_BODY_BYTES
