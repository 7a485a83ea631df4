"""Where receipts are fetched from."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.pleo.receipt_server import ReceiptServer, receipt_server


@pytest.fixture
def server() -> Iterator[ReceiptServer]:
    with receipt_server() as made:
        yield made
