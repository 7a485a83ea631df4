"""The bytes of attachments, in a folder beside the books that only their owner can read.

A file is stored under its hash, so that one that is used twice is stored once, and is whole as soon as it has its
name. Its ending is one of a few that browsers show or save and never run.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from blocks.erp.entries import Attachment, NotAttached
from blocks.erp.ledger.connection import sync_folder
from blocks.erp.ledger.faults import explain, is_the_machines
from blocks.text import one_line

_CHUNK = 1 << 18
_MAX_NAME = 120
_INCOMING = ".incoming"
_ENDINGS = {
    "application/pdf": ".pdf",
    "application/zip": ".zip",
    "application/msword": ".doc",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": ".docx",
    "application/vnd.ms-excel": ".xls",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": ".xlsx",
    "application/xml": ".txt",
    "text/xml": ".txt",
    "text/plain": ".txt",
    "image/jpeg": ".jpg",
    "image/png": ".png",
    "image/gif": ".gif",
    "image/heic": ".heic",
    "image/heif": ".heif",
}
_OTHER_NAMES = {".jpeg": ".jpg", ".xml": ".txt"}


class NotStored(Exception):
    """A file that cannot be stored; the message is one line that follows its name."""

    def __init__(self, message: str, *, too_large: bool = False) -> None:
        super().__init__(message)
        self.too_large = too_large


class Receipts:
    """The folder of one ledger's attachments. It is made with the first of them."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.folder = folder
        self._max_bytes = max_bytes
        self._made: list[str] = []
        self._unsynced = False

    def store(self, attachment: Attachment) -> str | NotAttached:
        """Store the bytes at the attachment's `path`; returns the name that they have in the folder.

        The name lasts a loss of power only after `sync`. Raises OSError when the disk takes nothing: that is no fault
        of this file, and no entry is to stand without it for that.
        """
        name = one_line(attachment.name, _MAX_NAME)
        try:
            return self._store(attachment)
        except NotStored as error:
            return NotAttached(attachment.number, f"{name}: {error}", too_large=error.too_large)
        except OSError as error:
            if is_the_machines(error):
                raise
            # Accountants read this in Pleo: it names the place, and not where on this machine it is.
            place = attachment.path if error.filename == os.fspath(attachment.path) else self.folder
            return NotAttached(attachment.number, f"{name}: {place.name} {explain(place, error)[0]}")

    def sync(self) -> None:
        """Make sure that what was stored is found again after a loss of power. Raises OSError."""
        if self._unsynced:
            sync_folder(self.folder)
            self._unsynced = False

    def drop_unnamed(self, is_named: Callable[[str], bool]) -> None:
        """At the end of a transaction: remove what was stored since the last one, and which no entry names."""
        made, self._made = self._made, []
        for name in made:
            if not is_named(name):
                with suppress(OSError):  # it only takes room
                    (self.folder / name).unlink(missing_ok=True)

    def _store(self, attachment: Attachment) -> str:
        if attachment.size > self._max_bytes:
            raise self._too_large()
        name = attachment.sha256 + ending_of(attachment)
        place = self.folder / name
        self._make_folder()
        with attachment.path.open("rb") as source:
            if place.is_file() and self._digest(place) == (attachment.size, attachment.sha256):
                self._refuse_others(attachment, self._copy(source, None))
            else:
                self._write(attachment, source, place)
                self._made.append(name)
        self._unsynced = True
        return name

    def _make_folder(self) -> None:
        if not self.folder.is_dir():
            self.folder.mkdir(mode=0o700)
            # Should this run be killed now, SQLite syncs that folder with the next run's first commit.
            sync_folder(self.folder.parent)

    def _write(self, attachment: Attachment, source: BinaryIO, place: Path) -> None:
        incoming = self.folder / _INCOMING
        descriptor = os.open(incoming, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0), 0o600)
        try:
            with os.fdopen(descriptor, "wb") as target:
                self._refuse_others(attachment, self._copy(source, target))
                target.flush()
                os.fsync(target.fileno())
            incoming.replace(place)
        except BaseException:
            with suppress(OSError):  # the first error says what is the matter
                incoming.unlink(missing_ok=True)
            raise

    def _copy(self, source: BinaryIO, target: BinaryIO | None) -> tuple[int, str]:
        size, digest = 0, hashlib.sha256()
        while chunk := source.read(_CHUNK):
            size += len(chunk)
            if size > self._max_bytes:
                raise self._too_large()
            digest.update(chunk)
            if target is not None:
                target.write(chunk)
        return size, digest.hexdigest()

    def _digest(self, place: Path) -> tuple[int, str]:
        with place.open("rb") as file:
            return place.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()

    def _refuse_others(self, attachment: Attachment, copied: tuple[int, str]) -> None:
        if copied != (attachment.size, attachment.sha256):
            raise NotStored("its bytes are not those that it was announced with")

    def _too_large(self) -> NotStored:
        return NotStored(f"it is larger than the {self._max_bytes} bytes that the ledger takes", too_large=True)


def ending_of(attachment: Attachment) -> str:
    """The ending of the stored file: by the media type, else by the name, else one that nothing opens by itself."""
    by_type = _ENDINGS.get(attachment.media_type.partition(";")[0].strip().lower())
    if by_type is not None:
        return by_type
    by_name = Path(attachment.name).suffix.lower()
    by_name = _OTHER_NAMES.get(by_name, by_name)
    return by_name if by_name in _ENDINGS.values() else ".bin"
