"""H4: the memory of users through the real system; forgetting is complete, down to the files of the store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from nats.aio.client import Client as Nats

from penstock.bus.direct_get import read_all
from penstock.client.client import Client
from penstock.contract import codec
from penstock.contract.retrieval import subjects
from penstock.contract.retrieval.documents import MEMORY, Document, IndexReport
from penstock.contract.retrieval.search import SearchAnswer, SearchRequest
from penstock.contract.streams import EMBEDDINGS
from penstock.runtime.retrieval.embedding_key import EmbeddingKeys
from services.simulator.answers.embeddings import POISON
from tests.harness.indexer.index_requests import retrieval_catalogue
from tests.harness.processes.system import System, shared_system

WORDS = "The launch code of the zeppelin is marzipan seventeen"
MOST_TURNS = 20


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    config = retrieval_catalogue({"memory": {"max_turns_per_user": MOST_TURNS}})
    with shared_system(tmp_path_factory.mktemp("memory"), "all", config=config, indexers=1) as running:
        yield running


@pytest.fixture
async def client(system: System, unique: str) -> AsyncIterator[Client]:
    async with await system.client(account=unique) as connected:
        yield connected


@pytest.fixture
async def nc(system: System) -> AsyncIterator[Nats]:
    import nats

    connected = await nats.connect(system.nats.url)
    yield connected
    await connected.close()


async def remember(client: Client, user: str, *turns: Document) -> IndexReport:
    return await client.index_and_wait(MEMORY, documents=turns, user=user, lane="interactive", timeout_s=60)


async def forget(client: Client, user: str, *, drop: bool = False, ids: tuple[str, ...] = ()) -> IndexReport:
    return await client.index_and_wait(
        MEMORY, delete=ids, drop=drop, user=user, lane="interactive", timeout_s=60
    )


async def test_h4_a_refused_turn_makes_no_other_one_be_paid_for_often(system: System, client: Client):
    """No vector of a memory is cached: each text of a repeated request is embedded again."""
    texts = [f"Sepia note {number}" for number in range(15)] + [f"Sepia {POISON}"]
    before = await system.embedded_texts()
    report = await remember(client, "kim", *(turn("c1", number, text) for number, text in enumerate(texts)))
    assert report.indexed == 15
    ((refused, reason),) = [(each.id, each.reason) for each in report.refused]
    assert refused == "c1/0015"
    assert "the embedding model refuses it" in reason
    assert await system.embedded_texts() - before <= 2 * 15


async def recall(nc: Nats, account: str, user: str, query: str, conversation: str = "") -> list[str]:
    request = SearchRequest(collection="", query=query, user=user, conversation=conversation, top_k=50)
    msg = await nc.request(subjects.search(account), codec.encode(request), timeout=20)
    answer = codec.SEARCH_ANSWER.decode(msg.data)
    assert isinstance(answer, SearchAnswer), answer
    return [passage.text for passage in answer.passages]


def turn(conversation: str, number: int, text: str) -> Document:
    return Document(
        id=f"{conversation}/{number:04}",
        text=text,
        media_type="text/plain",
        metadata={"conversation": conversation},
    )


def files_with(directory: Path, text: str) -> list[Path]:
    """Lance stores short texts plainly or by a dictionary; a word that is in no other text is found either way."""
    return [path for path in directory.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]


async def stored_vectors(nc: Nats, text: str) -> int:
    subject = subjects.embedding(EmbeddingKeys("m-embed", 256).of(text))
    return len([msg async for msg in read_all(nc, EMBEDDINGS.name, subject)])


async def test_h4_only_the_user_recalls_its_turns(client: Client, nc: Nats, unique: str):
    await remember(client, "ann", turn("c1", 1, "Ann keeps bees on the roof"), turn("c1", 2, "Ann likes tea"))
    await remember(client, "bob", turn("c1", 1, "Bob keeps goats"))
    assert "Ann keeps bees on the roof" in await recall(nc, unique, "ann", "what does she keep on the roof")
    assert await recall(nc, unique, "bob", "what does she keep on the roof") == ["Bob keeps goats"]
    assert await recall(nc, "other", "ann", "bees") == []
    assert await recall(nc, unique, "ann", "bees", conversation="c1") == []
    listed = await client.documents(user="ann")
    assert [each.id for each in listed.documents] == ["c1/0001", "c1/0002"]
    assert await client.collections() == ()


async def test_h4_forgetting_leaves_nothing_in_the_files_and_in_the_cache(
    system: System, client: Client, nc: Nats, unique: str
):
    index = system.directory / "index"
    await remember(client, "ann", turn("c1", 1, WORDS), turn("c1", 2, "Nothing of interest was said"))
    assert await recall(nc, unique, "ann", "launch code of the zeppelin")
    assert files_with(index, "marzipan"), "the test sees stored texts"
    assert await stored_vectors(nc, WORDS) == 0, "vectors of a memory are kept in its table only"

    report = await forget(client, "ann", ids=("c1/0001",))
    assert (report.deleted, report.chunks_deleted) == (1, 1)
    assert files_with(index, "marzipan") == []
    assert await stored_vectors(nc, "launch code of the zeppelin") == 0
    assert await recall(nc, unique, "ann", "launch code of the zeppelin") == ["Nothing of interest was said"]


async def test_h4_the_whole_memory_of_a_user_is_forgotten(
    system: System, client: Client, nc: Nats, unique: str
):
    await remember(client, "eve", *(turn("c1", number, f"Cinnabar note {number}") for number in range(12)))
    await remember(client, "bob", turn("c1", 1, "Bob keeps goats"))
    report = await forget(client, "eve", drop=True)
    assert (report.deleted, report.chunks_deleted) == (12, 12)
    assert files_with(system.directory / "index", "Cinnabar") == []
    assert await stored_vectors(nc, "Cinnabar note 3") == 0
    assert await recall(nc, unique, "eve", "note") == []
    assert await recall(nc, unique, "bob", "goats") == ["Bob keeps goats"]


async def test_h4_beyond_the_limit_the_oldest_turns_are_forgotten(client: Client, system: System):
    turns = [turn("c1", number, f"Vermilion{number} was said") for number in range(MOST_TURNS + 3)]
    await remember(client, "max", *turns[:MOST_TURNS])
    for each in turns[MOST_TURNS:]:
        await remember(client, "max", each)
    listed = await client.documents(user="max")
    assert [each.id for each in listed.documents] == [
        f"c1/{number:04}" for number in range(3, MOST_TURNS + 3)
    ]
    assert files_with(system.directory / "index", "Vermilion1 ") == []


async def test_h4_no_request_names_the_memory_of_a_user(client: Client, nc: Nats, unique: str):
    from services.indexer.collections.names import memory_of

    await remember(client, "ann", turn("c1", 1, "Ann keeps bees"))
    name = memory_of(unique, "ann")
    for account in (unique, "other"):
        request = SearchRequest(collection=name, query="bees")
        msg = await nc.request(subjects.search(account), codec.encode(request), timeout=20)
        answer = codec.SEARCH_ANSWER.decode(msg.data)
        assert not isinstance(answer, SearchAnswer)
        assert answer.code == "invalid_request"
