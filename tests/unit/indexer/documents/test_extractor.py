"""H1: the processes that read documents: used again, killed in time, replaced after a crash, and never left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import textwrap
import time

import pytest

from services.indexer.documents.document import (
    DocumentLimits,
    DocumentRefused,
    ExtractionUnavailable,
    Source,
)
from services.indexer.documents.extractor import DocumentExtractor
from tests.harness.indexer.pdf_files import pdf_of
from tests.harness.indexer.watching import loop_watch
from tests.harness.processes.children import is_running, running_children
from tests.harness.suite.waiting import until

pytestmark = pytest.mark.real_time

HTML = Source("<html><title>Page</title><body><p>words</p></body></html>")


def children() -> set[int]:
    return {child.pid for child in running_children()}


def command(program: str) -> tuple[str, ...]:
    return (sys.executable, "-c", textwrap.dedent(program))


async def test_h1_a_small_text_is_read_without_a_process(extractor: DocumentExtractor):
    before = children()
    found = await extractor.extract(Source(b"# A\n\nwords", name="a.md"))
    assert (found.text, found.title) == ("# A\n\nwords", "A")
    assert children() == before


async def test_h1_a_process_reads_many_documents(extractor: DocumentExtractor):
    before = children()
    texts = [(await extractor.extract(Source(pdf_of(f"words {n}"), name=f"{n}.pdf"))).text for n in range(20)]
    assert texts == [f"words {n}" for n in range(20)]
    assert (await extractor.extract(HTML)).title == "Page"
    assert len(children() - before) == 1


async def test_h1_documents_are_read_at_once_by_few_processes():
    extractor = DocumentExtractor(processes=2)
    before = children()
    found = await asyncio.gather(*[extractor.extract(Source(pdf_of(f"words {n}"))) for n in range(12)])
    assert [each.text for each in found] == [f"words {n}" for n in range(12)]
    assert len(children() - before) == 2
    await extractor.close()
    assert children() <= before


@pytest.mark.parametrize("encoding", ["utf-8", "cp1251", "utf-16"])
async def test_h1_a_large_text_does_not_block_the_loop(extractor: DocumentExtractor, encoding: str):
    text = "Насос качает воду. Клапан её держит.\n" * 100_000
    async with loop_watch() as loop:
        found = await extractor.extract(Source(text.encode(encoding), "text/plain"))
    assert found.text == text
    assert loop.blocked_s < 0.05


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("# " + "[" * 16_000, "a.md"),
        ("# a" + " " * 16_000, "a.md"),
        ("---\n" + "title:" * 2_500, "a.md"),
        ("](data:(" * 2_000, "a.md"),
        ("]: data:\n" * 1_500, "a.md"),
        ("<" * 16_000, "a.txt"),
        ("<!--" * 4_000, "a.txt"),
        ('{"a":[' * 2_500, "a.json"),
        ('[{"a":1},' * 1_700 + "1]", "a.json"),
        ("\r\x0b" * 8_000, "a.txt"),
    ],
)
async def test_h1_a_small_hostile_text_does_not_block_the_loop(
    extractor: DocumentExtractor, text: str, name: str
):
    async with loop_watch() as loop:
        found = await extractor.extract(Source(text, "text/plain; charset" + " " * 100_000, name))
    assert found.title
    assert loop.blocked_s < 0.05


async def test_h1_text_that_is_not_encoded_is_read_too(extractor: DocumentExtractor):
    text = "Насос \ud800 \U0001f600\r\n" * 100_000
    found = await extractor.extract(Source(text))
    assert found.text == "Насос \ufffd \U0001f600\n" * 100_000


async def test_h1_a_short_text_in_another_encoding_is_read(extractor: DocumentExtractor):
    assert (await extractor.extract(Source("Отчёт за год".encode("cp1251")))).text == "Отчёт за год"


async def test_h1_a_process_that_never_answers_is_killed():
    extractor = DocumentExtractor(DocumentLimits(time_s=0.3), command=command("import time; time.sleep(60)"))
    before = children()
    with pytest.raises(DocumentRefused, match=r"more than 0\.3 seconds") as refused:
        await extractor.extract(HTML)
    assert refused.value.kind == "too_slow"
    await until(lambda: children() <= before)
    await extractor.close()


async def test_h1_a_process_that_computes_for_ever_ends_by_its_own_limit():
    """Also where the parent cannot measure the time: it may be stopped or dead."""
    program = """
        import sys; sys.argv[:] = ["-", sys.argv[1], sys.argv[2]]
        from services.indexer.documents import process, reading
        process.read = lambda *_: [None for _ in iter(int, 1)]
        limits = process.msgspec.json.decode(sys.argv[2], type=process.DocumentLimits)
        process._main(sys.argv[1], process.msgspec.json.encode(process.replace(limits, time_s=0.1)).decode())
    """
    extractor = DocumentExtractor(DocumentLimits(time_s=20.0), command=command(program))
    started = time.monotonic()
    with pytest.raises(DocumentRefused) as refused:
        await extractor.extract(HTML)
    assert refused.value.kind == "too_slow"
    assert time.monotonic() - started < 10
    await extractor.close()


@pytest.mark.parametrize(
    ("number", "kind"),
    [(signal.SIGSEGV, "broken"), (signal.SIGABRT, "too_much_memory"), (signal.SIGXCPU, "too_slow")],
)
async def test_h1_the_end_of_a_process_says_why(number: signal.Signals, kind: str):
    program = f"import os, sys; sys.stdin.buffer.read(9); os.kill(os.getpid(), {int(number)})"
    extractor = DocumentExtractor(command=command(program))
    with pytest.raises(DocumentRefused) as refused:
        await extractor.extract(HTML)
    assert refused.value.kind == kind
    await extractor.close()


@pytest.mark.parametrize(
    "program",
    [
        "import os; os._exit(3)",
        "import os, time; os.close(1); time.sleep(60)",
        "import os; os.kill(os.getpid(), 9)",
        "import sys; sys.stdout.write('words, not a message'); sys.stdout.flush(); sys.stdin.read()",
        "import sys; sys.stdout.buffer.write(b'\\0\\0\\0\\1x\\0\\0\\0\\0'); sys.stdout.flush(); sys.stdin.read()",
    ],
)
async def test_h1_the_document_is_not_blamed_for_a_process_that_fails(program: str):
    extractor = DocumentExtractor(command=command(program))
    for _ in range(2):
        with pytest.raises(ExtractionUnavailable):
            await extractor.extract(HTML)
    await extractor.close()


async def test_h1_a_command_that_does_not_exist_is_reported():
    with pytest.raises(ExtractionUnavailable, match="cannot be started"):
        await DocumentExtractor(command=("/no/such/program",)).extract(HTML)


async def test_h1_a_cancelled_document_leaves_no_answer_for_the_next(extractor: DocumentExtractor):
    await extractor.extract(HTML)
    for turns in range(6):
        first = asyncio.create_task(extractor.extract(Source(pdf_of("first " * 200))))
        for _ in range(turns):
            await asyncio.sleep(0.001)
        first.cancel()
        assert (await extractor.extract(Source(pdf_of("second")))).text == "second"


@pytest.mark.parametrize("is_noticed", [True, False])
async def test_h1_a_process_that_died_while_idle_is_replaced(
    extractor: DocumentExtractor, *, is_noticed: bool
):
    """Also in the moments in which asyncio does not know it yet, which last longer on a busy machine."""
    before = children()
    await extractor.extract(HTML)
    (pid,) = children() - before
    os.kill(pid, signal.SIGKILL)
    if is_noticed:
        await until(lambda: pid not in children())
    assert (await extractor.extract(HTML)).title == "Page"
    assert pid not in children()


async def test_h1_a_document_that_ends_each_process_is_given_up_after_the_second():
    started = "from services.indexer.documents import process\nimport os, sys\nread, pid = process.read, os.getpid()\n"
    program = started + textwrap.dedent(
        """
        def end_at_last(source, *more):
            return os.kill(pid, 9) if b"last" in source.data.encode() else read(source, *more)

        process.read = end_at_last
        process._main(*sys.argv[1:])
        """
    )
    extractor = DocumentExtractor(command=(sys.executable, "-c", program))
    await extractor.extract(HTML)
    with pytest.raises(ExtractionUnavailable, match="exit code -9"):
        await extractor.extract(Source("<html><body>the last words"))
    assert (await extractor.extract(HTML)).title == "Page"
    await extractor.close()


async def test_h1_an_idle_process_is_stopped():
    extractor = DocumentExtractor(idle_s=0.05)
    before = children()
    await extractor.extract(HTML)
    await until(lambda: children() <= before)
    await extractor.close()


async def test_h1_nothing_is_left_of_an_indexer_that_is_killed():
    """Neither an idle process nor one that is reading."""
    program = """
        import asyncio, sys
        from services.indexer.documents import child, extractor
        from services.indexer.documents.document import Source

        STUCK = "from services.indexer.documents import process; process.read = lambda *_: [0 for _ in iter(int, 1)];"

        async def main():
            idle = extractor.DocumentExtractor()
            await idle.extract(Source("<html><body>words"))
            stuck = extractor.DocumentExtractor(
                command=(sys.executable, "-c", STUCK + "import sys; process._main(*sys.argv[1:])")
            )
            task = asyncio.create_task(stuck.extract(Source("<html><body>words")))
            await asyncio.sleep(0.5)
            print("ready", flush=True)
            await task

        asyncio.run(main())
    """
    parent = await asyncio.create_subprocess_exec(*command(program), stdout=asyncio.subprocess.PIPE)
    assert parent.stdout is not None
    assert await parent.stdout.readline() == b"ready\n"
    both = running_children(parent.pid)
    assert len(both) == 2
    parent.kill()
    await parent.communicate()
    await until(lambda: not any(is_running(each.pid) for each in both))
