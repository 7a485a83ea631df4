"""Several receipts as one file, for an accounting system that takes one: a PDF where that can be, else a ZIP."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PDF = "application/pdf"
ZIP = "application/zip"
MERGEABLE = frozenset({PDF, "image/png", "image/jpeg"})
MERGE_S = 30
MERGE_BYTES = 1024**3
"""Time and memory that merging may take; beyond, the files go into a ZIP, which looks into none of them."""

_PACKED = frozenset({*MERGEABLE, ZIP, "image/gif", "image/heic", "image/heif", "image/webp", "image/avif"})
_SCRIPT = str(Path(__file__).with_name("merge.py"))
_EVERY_ZIP = (1980, 1, 1, 0, 0, 0)
_ENVIRONMENT = ("PATH", "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "SYSTEMROOT")


class CannotCombine(Exception):
    """The files cannot be made into one that the accounting system takes."""


class CombinedTooLarge(CannotCombine):
    """They can, but it is over the accounting system's limit."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file to be combined: where it is, its name in a ZIP, its media type and its size in bytes."""

    path: Path
    name: str
    media_type: str
    size: int


@dataclass(frozen=True, slots=True)
class CombinedFile:
    """The file made: `ending` goes with the media type, `sha256` is in hexadecimal."""

    path: Path
    media_type: str
    ending: str
    size: int
    sha256: str


async def combine(
    parts: Sequence[SourceFile], target: Path, *, types: frozenset[str] | None, max_bytes: int, merge_s: int = MERGE_S
) -> CombinedFile:
    """Make `target` of all the parts, in their order: the same parts, the same bytes.

    `types` are the media types that may come of it (None: any), `max_bytes` is the most that it may have. Raises
    CombinedTooLarge, or CannotCombine when neither a PDF nor a ZIP will do; `target` does not exist then.
    """
    mergeable = all(part.media_type in MERGEABLE for part in parts) and _taken(PDF, types)
    fits = sum(part.size for part in parts) <= max_bytes
    if mergeable and fits:
        if await _merged(parts, target, max_bytes, merge_s):
            return await asyncio.to_thread(_made, target, PDF, "pdf")
        await asyncio.to_thread(target.unlink, missing_ok=True)
    if not _taken(ZIP, types):
        raise CannotCombine if fits else CombinedTooLarge
    made = await asyncio.to_thread(_zipped, parts, target)
    if made.size > max_bytes:
        await asyncio.to_thread(target.unlink)
        raise CombinedTooLarge
    return made


def _taken(type_: str, types: frozenset[str] | None) -> bool:
    return types is None or type_ in types


async def _merged(parts: Sequence[SourceFile], target: Path, max_bytes: int, merge_s: int) -> bool:
    """Whether a process of its own, with nothing to betray and little to break, made one PDF of the parts."""
    order = {
        "target": str(target),
        "parts": [(str(part.path), part.media_type) for part in parts],
        "memory": MERGE_BYTES,
        "seconds": merge_s,
        "largest": max_bytes,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        _SCRIPT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
        start_new_session=True,  # a Ctrl-C that asks the run to end is not for this process
    )
    try:
        async with asyncio.timeout(merge_s):
            await process.communicate(json.dumps(order).encode())
    except TimeoutError:
        pass
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode == 0


def _zipped(parts: Sequence[SourceFile], target: Path) -> CombinedFile:
    with zipfile.ZipFile(target, "x") as archive:
        for part in parts:
            member = zipfile.ZipInfo(part.name, _EVERY_ZIP)
            member.create_system, member.external_attr = 3, 0o600 << 16
            member.compress_type = zipfile.ZIP_STORED if part.media_type in _PACKED else zipfile.ZIP_DEFLATED
            member.file_size = part.size
            with part.path.open("rb") as source, archive.open(member, "w") as into:
                while chunk := source.read(65_536):
                    into.write(chunk)
    return _made(target, ZIP, "zip")


def _made(path: Path, media_type: str, ending: str) -> CombinedFile:
    path.chmod(0o600)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return CombinedFile(path, media_type, ending, path.stat().st_size, digest)
