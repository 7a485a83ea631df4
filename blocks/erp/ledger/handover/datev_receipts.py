"""A DATEV batch's receipts: zip files without folders, each with the `document.xml` of DATEV's document schema 5.0.

The same receipts give the same bytes. Each expense's receipts are one document, under the GUID by which the batch's
rows link to it.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterable, Iterator
from datetime import date
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import BinaryIO
from xml.sax.saxutils import quoteattr

from blocks.erp.ledger.handover.datev import receipts_guid
from blocks.erp.ledger.handover.members import Receipt
from blocks.erp.ledger.handover.settings import DatevSettings

MAX_BYTES = 465_000_000
"""How large a zip may be, with some room below DATEV's limit."""

MAX_DOCUMENTS = 4999
MAX_FILES = 50
"""How many documents an archive has, and files a document, at the most: DATEV's schema."""

_NAMESPACE = "http://xml.datev.de/bedi/tps/document/v05.0"
_TIME = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip can name: no clock changes the bytes
_CHUNK = 1 << 18
_OVERHEAD = 1024  # bytes, of a file's entries in the zip and in document.xml


def split_archives(receipts: Iterable[Receipt], most_bytes: int = MAX_BYTES) -> Iterator[list[Receipt]]:
    """The receipts of each zip; those of one expense stay together."""
    archive: list[Receipt] = []
    size = documents = 0
    for _, files in groupby(receipts, attrgetter("accounting_entry_id")):
        document = list(files)[:MAX_FILES]
        more = sum(one.size + _OVERHEAD for one in document)
        if archive and (size + more > most_bytes or documents == MAX_DOCUMENTS):
            yield archive
            archive, size, documents = [], 0, 0
        archive += document
        size += more
        documents += 1
    if archive:
        yield archive


def name_in_archive(receipt: Receipt) -> str:
    """A receipt's file name in the zip."""
    return f"{receipts_guid(receipt.accounting_entry_id)}-{receipt.number:02d}{Path(receipt.file).suffix}"


def write_archive(
    target: BinaryIO,
    receipts: list[Receipt],
    day: date,
    settings: DatevSettings,
    opened: Callable[[Receipt], BinaryIO],
) -> None:
    """Write the zip of these receipts; `opened` opens one's bytes. Raises OSError."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for receipt in receipts:
            with opened(receipt) as source, archive.open(_file(name_in_archive(receipt)), "w") as copy:
                while chunk := source.read(_CHUNK):
                    copy.write(chunk)
        archive.writestr(_file("document.xml"), _document_xml(receipts, day, settings))


def _file(name: str) -> zipfile.ZipInfo:
    made = zipfile.ZipInfo(name, _TIME)
    made.create_system = 0  # the same wherever it is made
    return made


def _document_xml(receipts: list[Receipt], day: date, settings: DatevSettings) -> bytes:
    parts = [
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<archive xmlns="{_NAMESPACE}" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
        f'xsi:schemaLocation="{_NAMESPACE} Document_v050.xsd" version="5.0" generatingSystem="Pleo export">\n'
        f"  <header>\n    <date>{day.isoformat()}T00:00:00</date>\n"
        f"    <consultantNumber>{settings.adviser}</consultantNumber>\n"
        f"    <clientNumber>{settings.client}</clientNumber>\n  </header>\n  <content>\n"
    ]
    for id_, files in groupby(receipts, attrgetter("accounting_entry_id")):
        parts.append(f'    <document guid="{receipts_guid(id_)}" processID="1">\n')
        parts += [f'      <extension xsi:type="File" name={quoteattr(name_in_archive(one))}/>\n' for one in files]
        parts.append("    </document>\n")
    parts.append("  </content>\n</archive>\n")
    return "".join(parts).encode()
