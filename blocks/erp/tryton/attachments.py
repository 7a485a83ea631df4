"""Receipts on records of Tryton's: a file is known by the number that its description begins with."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence

from blocks.erp.entries import Attachment, NotAttached
from blocks.erp.remote import receipts
from blocks.erp.tryton.client import TrytonClient
from blocks.erp.tryton.records import TrytonRecord
from blocks.text import one_line

MODEL = "ir.attachment"
_NUMBER = re.compile(r"Pleo receipt ([0-9]{1,9}), SHA-256 [0-9a-f]{64}")
_MAX_NAME = 200


async def attached_numbers(client: TrytonClient, records: Sequence[TrytonRecord]) -> dict[str, frozenset[int]]:
    """The numbers of the files that hang on these records, by external id."""
    found: dict[str, set[int]] = defaultdict(set)
    for resource, number, _ in await _files(client, [record.external_id for record in records]):
        found[resource].add(number)
    return {resource: frozenset(numbers) for resource, numbers in found.items()}


async def attach(
    client: TrytonClient, record: TrytonRecord, files: Sequence[Attachment], max_bytes: int
) -> list[NotAttached]:
    """Attach the files that the record has not got yet, see `blocks.erp.remote.receipts`."""
    return await receipts.attach(_Shelf(client, record.external_id), files, max_bytes, "Tryton")


class _Shelf:
    """The attachments of one record; of two with one number the older one counts."""

    def __init__(self, client: TrytonClient, external_id: str) -> None:
        self._client = client
        self._external_id = external_id

    async def there(self) -> Sequence[tuple[int, int]]:
        return [(number, id_) for _, number, id_ in await _files(self._client, [self._external_id])]

    async def put(self, file: Attachment, content: bytes) -> int:
        values = {
            "resource": self._external_id,
            "type": "data",
            "name": one_line(file.name, _MAX_NAME) or f"receipt-{file.number}",
            "description": f"Pleo receipt {file.number}, SHA-256 {file.sha256}",
            "data": content,
        }
        return await self._client.create_large(MODEL, values)

    async def take_down(self, id_: int) -> None:
        await self._client.delete(MODEL, id_)


async def _files(client: TrytonClient, external_ids: Sequence[str]) -> list[tuple[str, int, int]]:
    """Our files on these records: whose, its number and its id, by id."""
    domain = [["resource", "in", list(external_ids)]]
    rows = await client.search(MODEL, domain, ("resource", "description")) if external_ids else []
    matches = [(row, _NUMBER.match(row["description"] or "")) for row in rows]
    return sorted(
        ((row["resource"], int(match[1]), row["id"]) for row, match in matches if match), key=lambda one: one[2]
    )
