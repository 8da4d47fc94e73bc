"""H1: --watch sends what changed, once it no longer changes, and deletes what is gone."""

from pathlib import Path

from penstock.cli.retrieval.files import FileProblem, FoundFile, FoundFiles
from penstock.cli.retrieval.watch import FileChanges, FileWatch


def file(name, version=1):
    return FoundFile(id=name, path=Path(name), size=10, mtime_ns=version, inode=7)


def look(watch, *files, now_s=0.0, problems=()):
    changes = watch.look(FoundFiles(files=files, problems=problems), now_s)
    return [each.id for each in changes.changed], list(changes.deleted), changes


def test_h1_unchanged_files_are_not_sent_again():
    watch = FileWatch([file("a"), file("b")])
    for _ in range(3):
        assert look(watch, file("a"), file("b"))[:2] == ([], [])


def test_h1_a_changed_file_is_sent_once_two_looks_agree():
    watch = FileWatch([file("a")])
    assert look(watch, file("a", 2))[:2] == ([], [])
    assert look(watch, file("a", 3))[:2] == ([], []), "it is still being written"
    changed, _, changes = look(watch, file("a", 3))
    assert changed == ["a"]
    watch.sent(changes)
    assert look(watch, file("a", 3))[:2] == ([], [])


def test_h1_a_new_file_is_sent_and_a_deleted_one_is_deleted_after_two_looks():
    watch = FileWatch([file("a")])
    assert look(watch, file("b"))[:2] == ([], [])
    changed, deleted, changes = look(watch, file("b"))
    assert (changed, deleted) == (["b"], ["a"])
    watch.sent(changes)
    assert not watch.look(FoundFiles(files=(file("b"),)), 0.0)


def test_h1_nothing_is_deleted_while_a_folder_cannot_be_read():
    watch = FileWatch([file("a"), file("b")])
    problem = FileProblem(id="folder", path=Path("folder"), reason="permission denied")
    for _ in range(3):
        assert look(watch, file("a"), problems=(problem,))[:2] == ([], [])
    assert look(watch, file("a"))[:2] == ([], ["b"])


def test_h1_a_problem_is_reported_when_it_appears_also_in_a_pause():
    known = FileProblem(id="large", path=Path("large"), reason="has 70 MiB")
    new = FileProblem(id="folder", path=Path("folder"), reason="permission denied")
    watch = FileWatch([file("a")], [known])
    assert look(watch, file("a"), problems=(known,))[2].problems == ()
    watch.failed(0.0)
    assert look(watch, file("a"), now_s=1.0, problems=(known, new))[2].problems == (new,)
    assert look(watch, file("a"), now_s=2.0, problems=(new,))[2].problems == ()
    assert look(watch, file("a"), now_s=3.0)[2].problems == ()
    assert look(watch, file("a"), now_s=4.0, problems=(new,))[2].problems == (new,)


def test_h1_changes_that_could_not_be_sent_are_reported_again_after_growing_pauses():
    watch = FileWatch([])
    look(watch, file("a"))
    assert look(watch, file("a"))[0] == ["a"]
    assert watch.failed(10.0) == 2.0
    assert look(watch, file("a"), now_s=11.9)[0] == []
    assert look(watch, file("a"), now_s=12.0)[0] == ["a"]
    assert watch.failed(12.0) == 4.0
    assert [watch.failed(12.0) for _ in range(9)][-1] == 60.0
    watch.sent(FileChanges(changed=(file("a"),)))
    assert look(watch, file("a"), now_s=100.0)[0] == []
