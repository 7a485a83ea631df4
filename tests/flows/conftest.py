from collections.abc import Iterator
from pathlib import Path

import pytest
from exporting import Office, office


@pytest.fixture
def at_work(tmp_path: Path) -> Iterator[Office]:
    """A Pleo without a job yet, and books without an entry."""
    with office(tmp_path) as made:
        yield made
