"""Receipts on records of Tryton's, each once: a file is known by the number that its description begins with."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections import defaultdict
from collections.abc import Sequence

from blocks.erp.entries import Attachment, NotAttached
from blocks.erp.tryton.client import RecordGone, Row, TooLarge, TrytonClient, TrytonRefused
from blocks.erp.tryton.records import TrytonRecord
from blocks.text import one_line

MODEL = "ir.attachment"
_NUMBER = re.compile(r"Pleo receipt ([0-9]{1,9}), SHA-256 [0-9a-f]{64}")
_MAX_NAME = 200


async def attached_numbers(client: TrytonClient, records: Sequence[TrytonRecord]) -> dict[str, frozenset[int]]:
    """The numbers of the files that hang on these records, by external id."""
    found: dict[str, set[int]] = defaultdict(set)
    if records:
        domain = [["resource", "in", [record.external_id for record in records]]]
        for row in await client.search(MODEL, domain, ("resource", "description")):
            number = _number(row)
            if number is not None:
                found[row["resource"]].add(number)
    return {resource: frozenset(numbers) for resource, numbers in found.items()}


async def attach(
    client: TrytonClient, record: TrytonRecord, attachments: Sequence[Attachment], max_bytes: int
) -> list[NotAttached]:
    """Attach the files that the record has not got yet; returns those that are not as they should be, are larger than
    `max_bytes`, or that Tryton does not take.

    Two writers at once may both attach a file: whoever finds an older one beside its own deletes its own.
    """
    if not attachments:
        return []
    there = (await attached_numbers(client, [record])).get(record.external_id, frozenset())
    refused: list[NotAttached] = []
    made: dict[int, int] = {}
    for one in attachments:
        if one.number in there or one.number in made:
            continue
        content = await _content(one, max_bytes)
        if isinstance(content, NotAttached):
            refused.append(content)
            continue
        try:
            made[one.number] = await client.create_large(MODEL, _values(record, one, content))
        except TooLarge:
            refused.append(NotAttached(one.number, "Tryton does not take files of this size", too_large=True))
        except RecordGone:
            raise
        except TrytonRefused as error:
            refused.append(NotAttached(one.number, str(error)))
    await _drop_second(client, record, made)
    return refused


async def unfit(attachments: Sequence[Attachment], max_bytes: int) -> list[NotAttached]:
    """Those of the files that Tryton need not even be asked about."""
    contents = [await _content(one, max_bytes) for one in attachments]
    return [one for one in contents if isinstance(one, NotAttached)]


async def _drop_second(client: TrytonClient, record: TrytonRecord, made: dict[int, int]) -> None:
    if not made:
        return
    first: dict[int, int] = {}
    for row in await client.search(MODEL, [["resource", "=", record.external_id]], ("resource", "description")):
        number = _number(row)
        if number is not None:
            first[number] = min(row["id"], first.get(number, row["id"]))
    for number, id_ in made.items():
        if first.get(number, id_) < id_:
            await client.delete(MODEL, id_)


async def _content(one: Attachment, max_bytes: int) -> bytes | NotAttached:
    """The bytes of a file, or why it cannot be attached: it is too large, gone, or not what was downloaded."""
    if one.size > max_bytes:
        return NotAttached(one.number, f"a file has at most {max_bytes} bytes", too_large=True)
    try:
        content = await asyncio.to_thread(one.path.read_bytes)
    except OSError as error:
        return NotAttached(one.number, f"the file cannot be read: {error.strerror or 'no reason given'}")
    if len(content) != one.size or hashlib.sha256(content).hexdigest() != one.sha256:
        return NotAttached(one.number, "the file has other bytes than were downloaded")
    return content


def _values(record: TrytonRecord, one: Attachment, content: bytes) -> Row:
    return {
        "resource": record.external_id,
        "type": "data",
        "name": one_line(one.name, _MAX_NAME) or f"receipt-{one.number}",
        "description": f"Pleo receipt {one.number}, SHA-256 {one.sha256}",
        "data": content,
    }


def _number(row: Row) -> int | None:
    match = _NUMBER.match(row["description"] or "")
    return int(match[1]) if match is not None else None
