"""Collecting the receipts of one expense, as an accounting system with some limits asks for them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from blocks.erp.base import Capabilities
from blocks.erp.settings import Attachments
from blocks.pleo.items import ExportItem
from blocks.pleo.models import ItemFailure
from flows.failures import Failure
from flows.receipts.collect import Collected, collect
from tests.support.pleo.receipt_server import ReceiptServer

ANY = Capabilities("a system", 100, 100, 100, 10**12)
REQUIRED, OPTIONAL, SKIP = Attachments.REQUIRED, Attachments.OPTIONAL, Attachments.SKIP
PDF, PNG, ZIP = "application/pdf", "image/png", "application/zip"
DOWNLOAD = Failure(
    ItemFailure.RECEIPT_DOWNLOAD, "Failed to download the attachment file from Pleo. Re-export the expense."
)
SIZE = Failure(ItemFailure.RECEIPT_SIZE, "Attachment file size exceeds accounting system limits.")


def limits(**changes: Any) -> Capabilities:
    kinds = changes.pop("types", None)
    return Capabilities(
        "a system", 100, 100, 100, 10**12, attachment_types=None if kinds is None else frozenset(kinds), **changes
    )


async def collected(
    server: ReceiptServer,
    folder: Path,
    item: ExportItem,
    *,
    policy: Attachments = REQUIRED,
    skip: frozenset[int] = frozenset(),
    **changes: Any,
) -> Collected:
    async with server.client() as files:
        found = await collect(item, files, limits(**changes), policy, folder, skip)
    for one in found.attachments:
        content = one.path.read_bytes()
        assert (one.size, one.sha256) == (len(content), hashlib.sha256(content).hexdigest())
        assert folder in one.path.parents
    return found


def shown(found: Collected) -> list[tuple[int, str, str]]:
    return [(one.number, one.name, one.media_type) for one in found.attachments]
