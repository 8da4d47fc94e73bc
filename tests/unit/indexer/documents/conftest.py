"""An extractor of which nothing is left after the test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from services.indexer.documents.document import DocumentLimits
from services.indexer.documents.extractor import DocumentExtractor


@pytest_asyncio.fixture
async def extractor() -> AsyncIterator[DocumentExtractor]:
    made = DocumentExtractor(DocumentLimits(time_s=20.0), processes=1)
    yield made
    await made.close()
