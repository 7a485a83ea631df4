"""The files of a batch in the folder that an accountant takes them from.

Every file comes by a temporary name and a rename, and none is ever written over another. The batch's own file comes
last, so that all that belongs to it is there when it is.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from jinja2 import Environment, PackageLoader, StrictUndefined

from blocks.erp.errors import ErpConfigurationError
from blocks.erp.ledger.connection import sync_folder
from blocks.erp.ledger.handover.batches import Batch, content_of
from blocks.erp.ledger.handover.datev_receipts import name_in_archive, split_archives, write_archive
from blocks.erp.ledger.handover.members import Receipt, receipts_of
from blocks.erp.ledger.handover.settings import DatevSettings, HandoverFormat
from blocks.text import no_formula, one_line

_CHUNK = 1 << 18
_PAGES = Environment(
    loader=PackageLoader("blocks.erp.ledger.handover", "."),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def put_out(connection: sqlite3.Connection, batch: Batch, folder: Path, receipts: Path, datev: DatevSettings) -> Path:
    """Write a batch's files into the folder, but for those that are there already with the same bytes.

    `receipts` is the ledger's folder of receipts. Returns the batch's own file. Raises ErpConfigurationError where a
    file of that name has other bytes, OSError.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except FileExistsError as error:
        raise ErpConfigurationError(f"{folder} is no folder: set handover_folder to one") from error
    own = folder / batch.name
    stem = own.with_suffix("").name
    listed: list[dict[str, Any]] = []
    archives: list[str] = []
    if batch.format is HandoverFormat.DATEV:
        for number, archive in enumerate(split_archives(_receipts(connection, batch)), 1):
            name = f"{stem.removeprefix('EXTF_')}_receipts_{number}.zip"
            with _incoming(folder / name, batch) as file:
                write_archive(file, archive, batch.last_date, datev, lambda one: _opened(receipts, one))
            archives.append(name)
            listed += [_listed(one, f"{name}/{name_in_archive(one)}") for one in archive]
    elif batch.format is HandoverFormat.CSV:
        listed = _copy_receipts(connection, batch, folder / f"{stem}-receipts", receipts)
    with _incoming(folder / f"{stem}.manifest.json", batch) as file:
        _write_manifest(file, batch, listed)
    with _incoming(folder / f"{stem}.html", batch) as file:
        file.write(page_of(batch, archives, len(listed)))
    with _incoming(own, batch) as file:
        digest = hashlib.sha256()
        for content in content_of(connection, batch):
            digest.update(content)
            file.write(content)
        if digest.hexdigest() != batch.sha256:
            raise ErpConfigurationError(f"batch {batch.number} of {batch.format} is damaged in the books")
    sync_folder(folder)
    return own


def page_of(batch: Batch, archives: list[str], receipts: int) -> bytes:
    """The page that tells an accountant what is in a batch and how it is imported."""
    page = _PAGES.get_template("batch.html").render(
        batch=batch, manifest=batch.manifest, archives=archives, receipts=receipts
    )
    return page.encode()


def _receipts(connection: sqlite3.Connection, batch: Batch) -> Iterator[Receipt]:
    return receipts_of(connection, batch.key)


def _copy_receipts(connection: sqlite3.Connection, batch: Batch, folder: Path, receipts: Path) -> list[dict[str, Any]]:
    """Receipts in a folder of their own, with a list of what belongs to what."""
    listed: list[dict[str, Any]] = []
    rows = io.StringIO()
    writer = csv.writer(rows, lineterminator="\r\n")
    writer.writerow(["accounting_entry_id", "number", "file", "name", "sha256"])
    for one in _receipts(connection, batch):
        folder.mkdir(mode=0o700, exist_ok=True)
        name = f"{one.accounting_entry_id}-{one.number:02d}{Path(one.file).suffix}"
        with _incoming(folder / name, batch) as file, _opened(receipts, one) as source:
            shutil.copyfileobj(source, file, _CHUNK)
        listed.append(_listed(one, f"{folder.name}/{name}"))
        title = no_formula(one_line(one.name, 200), 200)
        writer.writerow([one.accounting_entry_id, one.number, name, title, one.sha256])
    if listed:
        with _incoming(folder / "receipts.csv", batch) as file:
            file.write(rows.getvalue().encode("utf-8-sig"))
    return listed


def _listed(receipt: Receipt, file: str) -> dict[str, Any]:
    return {"accounting_entry_id": receipt.accounting_entry_id, "number": receipt.number, "file": file,
            "name": one_line(receipt.name, 200), "sha256": receipt.sha256, "bytes": receipt.size}  # fmt: skip


def _write_manifest(file: BinaryIO, batch: Batch, listed: list[dict[str, Any]]) -> None:
    text = json.dumps({**batch.manifest, "receipts": listed}, ensure_ascii=False, indent=1)
    file.write(f"{text}\n".encode())


def _opened(receipts: Path, receipt: Receipt) -> BinaryIO:
    """A receipt's bytes, which have to be those that the books name."""
    path = receipts / receipt.file
    try:
        with path.open("rb") as file:
            whole = hashlib.file_digest(file, "sha256").hexdigest() == receipt.sha256
    except FileNotFoundError:
        whole = False
    if not whole:
        raise ErpConfigurationError(
            f"the receipt {path.name} in {receipts} is missing or was changed; restore it from a backup"
        )
    return path.open("rb")


@contextmanager
def _incoming(path: Path, batch: Batch) -> Iterator[BinaryIO]:
    """A file to be written under that name; one that is there already has to have the same bytes."""
    temporary = path.with_name(f".{path.name}.incoming")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if path.exists() or path.is_symlink():
            _refuse_other(path, temporary, batch)
            temporary.unlink()
        else:
            temporary.replace(path)
    except BaseException:
        with suppress(OSError):  # the first error says what is the matter
            temporary.unlink(missing_ok=True)
        raise


def _refuse_other(path: Path, temporary: Path, batch: Batch) -> None:
    if not _same(path, temporary):
        raise ErpConfigurationError(
            f"{path} is there already, and has other bytes than batch {batch.number} of {batch.format}: it is not "
            "overwritten, move it away"
        )


def _same(path: Path, other: Path) -> bool:
    if not path.is_file() or path.stat().st_size != other.stat().st_size:
        return False
    return _digest(path) == _digest(other)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
