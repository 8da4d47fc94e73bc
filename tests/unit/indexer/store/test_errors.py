"""H5: the errors of a store say what helps."""

from __future__ import annotations

from services.indexer.store.errors import MissingLibraries


def test_h5_missing_libraries_say_what_to_install():
    assert "pip install 'penstock[index]'" in str(MissingLibraries("lancedb"))
