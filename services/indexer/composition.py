"""The parts of the indexer that the composition root connects."""

from __future__ import annotations

from msgspec import Struct

from penstock.bus.clock import Clock
from penstock.runtime.cancellation import CancellableRequests
from penstock.runtime.config.catalogue import Catalogue
from penstock.runtime.config.retrieval import Retrieval
from penstock.runtime.redelivery.dead_request import DeadRequests
from penstock.runtime.redelivery.job_record import JobRecords
from penstock.runtime.redelivery.prior_attempts_reader import PriorAttemptsReader
from penstock.runtime.server_time_reader import FreshTime
from penstock.runtime.service import Bus, Shell
from services.indexer.chunking.settings import ChunkSettings
from services.indexer.collections.orphans import OrphanTables
from services.indexer.collections.records import CollectionRecords
from services.indexer.collections.tables import CollectionTables
from services.indexer.documents.document import DocumentLimits
from services.indexer.documents.extractor import DocumentExtractor
from services.indexer.embedding.batches import BatchEmbedder
from services.indexer.embedding.gateway import EmbeddingGateway
from services.indexer.embedding.models import EmbeddingModels
from services.indexer.handlers import SearchHandler, WorkHandler
from services.indexer.indexing.collection_indexer import CollectionIndexer
from services.indexer.indexing.documents import DocumentWriter
from services.indexer.indexing.prepare import Preparer
from services.indexer.indexing.rebuild import Rebuilder
from services.indexer.memory.forgetting import Forgetting
from services.indexer.metrics import IndexerMetrics
from services.indexer.requests.bodies import RequestBodies
from services.indexer.requests.outcome import cancelled
from services.indexer.requests.run import Runner
from services.indexer.requests.scheduler import RequestScheduler
from services.indexer.search.answering import Answers
from services.indexer.search.listing import Listing
from services.indexer.search.lookup import CollectionLookup, FollowedRecords
from services.indexer.search.query_vectors import QueryVectors
from services.indexer.search.searcher import Searcher
from services.indexer.store.interface import Store
from services.indexer.store.maintenance_queue import MaintenanceQueue

__all__ = ["Connected", "Parts", "connected_parts"]


class Connected(Struct, frozen=True):
    """What the parts are made from."""

    shell: Shell
    bus: Bus
    catalogue: Catalogue
    retrieval: Retrieval
    store: Store
    gateway: EmbeddingGateway
    metrics: IndexerMetrics
    clock: Clock


class Parts(Struct, frozen=True):
    """The parts that the composition root starts and stops."""

    extractor: DocumentExtractor
    prior_attempts: PriorAttemptsReader
    cancellable: CancellableRequests
    maintenance: MaintenanceQueue
    orphans: OrphanTables
    followed: FollowedRecords
    scheduler: RequestScheduler
    work: WorkHandler
    questions: SearchHandler


def _chunk_settings(retrieval: Retrieval) -> ChunkSettings:
    chunking = retrieval.chunking
    usual = ChunkSettings()
    smallest = min(usual.smallest_section, chunking.characters)
    return ChunkSettings(chunking.characters, chunking.overlap, smallest)


def connected_parts(inputs: Connected) -> Parts:
    bus, store, clock = inputs.bus, inputs.store, inputs.clock
    models = EmbeddingModels(inputs.catalogue)
    extractor = DocumentExtractor(DocumentLimits(document_bytes=inputs.retrieval.max_document_bytes))
    maintenance = MaintenanceQueue(store)
    records = CollectionRecords(bus)
    prior_attempts = PriorAttemptsReader(bus, inputs.shell.settings.ack_wait_s)
    cancellable = CancellableRequests(bus, cancelled)
    scheduler = RequestScheduler(inputs.retrieval.slots)
    followed = FollowedRecords()
    lookup = CollectionLookup(followed, records)
    searcher = Searcher(store, lookup, QueryVectors(inputs.gateway, models))
    indexer = _collection_indexer(inputs, records, models, extractor, maintenance)
    answers = Answers(
        searcher,
        Listing(store, lookup, records),
        inputs.metrics,
        inputs.shell.tracer,
        lambda: bus.nc.max_payload,
    )
    return Parts(
        extractor=extractor,
        prior_attempts=prior_attempts,
        cancellable=cancellable,
        maintenance=maintenance,
        orphans=OrphanTables(store, records, clock),
        followed=followed,
        scheduler=scheduler,
        work=_work_handler(inputs, indexer, prior_attempts, cancellable, scheduler),
        questions=SearchHandler(bus.nc, answers),
    )


def _collection_indexer(
    inputs: Connected,
    records: CollectionRecords,
    models: EmbeddingModels,
    extractor: DocumentExtractor,
    maintenance: MaintenanceQueue,
) -> CollectionIndexer:
    store, metrics, now_ms = inputs.store, inputs.metrics, inputs.clock.unix_ms
    writer = DocumentWriter(
        store,
        Preparer(extractor, _chunk_settings(inputs.retrieval), now_ms),
        BatchEmbedder(inputs.gateway),
        models,
        lambda why: metrics.refused.labels(why).inc(),
    )
    return CollectionIndexer(
        CollectionTables(store, records, now_ms),
        models,
        writer,
        Rebuilder(store, writer),
        Forgetting(store, inputs.retrieval.memory.max_turns_per_user),
        maintenance.note_change,
    )


def _work_handler(
    inputs: Connected,
    indexer: CollectionIndexer,
    prior_attempts: PriorAttemptsReader,
    cancellable: CancellableRequests,
    scheduler: RequestScheduler,
) -> WorkHandler:
    bus, shell, metrics, clock = inputs.bus, inputs.shell, inputs.metrics, inputs.clock
    job_records = JobRecords(bus, clock, shell.instance)
    bodies = RequestBodies(bus)
    runner = Runner(
        bus, shell.instance, indexer, bodies, job_records, cancellable, metrics, shell.tracer, clock
    )
    return WorkHandler(
        prior_attempts,
        job_records,
        runner,
        DeadRequests(bus, job_records, clock),
        bodies,
        scheduler,
        cancellable,
        FreshTime(bus.nc, shell.server_time),
        metrics,
        shell.settings.max_deliver,
    )
