"""What the tests of the accounting systems share."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a ledger of the test's own may be."""
    return tmp_path / "books.sqlite"
