"""A disk that loses its power: from the journal of what a program did to its files, what would be found afterwards.

What was synced is there: a file's bytes by a sync of the file, names by a sync of their folder. Of what was not synced
anything may be there and anything may be missing, the names in the order in which they were changed, bytes by sectors.
The journal is written by `disk_shim.c`.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import pytest

SECTOR = 512
_SHIM = Path(__file__).with_name("disk_shim.c")


class Loss(StrEnum):
    """What is lost: nothing, as when only the program dies; all that was not synced; the bytes but not the names; the
    bytes but neither names nor sizes, so that there are zeros instead; or whatever chance chooses."""

    NOTHING = "nothing"
    ALL = "all"
    BYTES = "bytes"
    ZEROS = "zeros"
    SOME = "some"


@dataclass(frozen=True)
class Operation:
    """One record of the journal."""

    name: str
    file: int
    offset: int
    path: str
    data: bytes


def build_shim(folder: Path) -> Path:
    """The shim as a library to preload; skips the test where it cannot be made."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("what a program does to its files can be followed on Linux with a C compiler only")
    target = folder / "disk_shim.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", target, _SHIM, "-ldl", "-lpthread"], check=True)
    return target


def environment(shim: Path, root: Path, journal: Path, **more: object) -> dict[str, str]:
    """What makes a program keep the journal; `kill` and `phase` kill it at an operation, `port` is followed too."""
    given = {"root": os.path.realpath(root), "log": journal, **more}
    return {"LD_PRELOAD": str(shim), **{f"SHIM_{name.upper()}": str(value) for name, value in given.items()}}


def read_journal(path: Path) -> list[Operation]:
    """The operations in their order."""
    operations: list[Operation] = []
    with path.open("rb") as file:
        while line := file.readline():
            name, number, offset, size, path_size = line.decode().split()
            where = file.read(int(path_size)).decode()
            data = file.read(int(size))
            operations.append(Operation(name, int(number), int(offset), os.path.normpath(where) if where else "", data))
    return operations


@dataclass
class _File:
    """A file: as programs see it, as it is on the disk for sure, and what has been done since."""

    live: bytearray = field(default_factory=bytearray)
    synced: bytes = b""
    since: list[tuple[int, bytes | None]] = field(default_factory=list)
    """Offset and bytes of a write; without bytes the file is cut off, or made longer, there."""

    def write(self, offset: int, data: bytes) -> None:
        _write(self.live, offset, data)
        self.since.append((offset, data))

    def truncate(self, size: int) -> None:
        _truncate(self.live, size)
        self.since.append((size, None))

    def sync(self) -> None:
        self.synced = bytes(self.live)
        self.since.clear()

    def after(self, loss: Loss, chance: random.Random) -> bytes:
        match loss:
            case Loss.NOTHING:
                return bytes(self.live)
            case Loss.ZEROS:
                return self.synced[: len(self.live)].ljust(len(self.live), b"\0")
            case Loss.SOME:
                return self._some(chance)
        return self.synced

    def _some(self, chance: random.Random) -> bytes:
        found, likely = bytearray(self.synced), chance.choice((0.1, 0.5, 0.9))
        for offset, data in self.since:
            if data is None:
                if chance.random() < likely:
                    _truncate(found, offset)
                continue
            for start, piece in _sectors(offset, data):
                if chance.random() < likely:
                    _write(found, start, piece)
        return bytes(found)


Names = dict[str, _File | None]  # None for a folder


class Disk:
    """The files below a folder, operation by operation."""

    def __init__(self, root: Path, folders: Iterator[Path] | list[Path]) -> None:
        """`folders` stand from the beginning, and for sure."""
        self._root = os.path.realpath(root)
        self._synced: Names = {os.path.realpath(folder): None for folder in folders}
        self._live: Names = dict(self._synced)
        self._since: list[tuple[str, Callable[[Names], None]]] = []
        self._files: dict[int, _File] = {}

    def apply(self, one: Operation) -> None:
        """Carry out an operation."""
        path = one.path.removesuffix(" (deleted)")
        match one.name:
            case "create":
                file = self._files[one.file] = _File()
                self._rename(path, lambda names: names.__setitem__(path, file))
            case "write":
                self._files[one.file].write(one.offset, one.data)
            case "truncate":
                self._files[one.file].truncate(one.offset)
            case "sync" if path in self._live and self._live[path] is None:
                for change in [change for change in self._since if change[0] == path]:
                    change[1](self._synced)
                    self._since.remove(change)
            case "sync":
                self._files[one.file].sync()
            case "rename":
                target = os.path.normpath(one.data.decode())
                self._rename(path, lambda names: names.__setitem__(target, names.pop(path, None)))
            case "unlink":
                self._rename(path, lambda names: names.pop(path, None))
            case "mkdir":
                self._rename(path, lambda names: names.__setitem__(path, None))
            case "failed" | "send":
                pass
            case _:
                raise AssertionError(f"{one.name} of {path}, which nobody foresaw")

    def after(self, loss: Loss, seed: int = 0) -> dict[str, bytes | None]:
        """What is found when the power is gone now, by path below the folder; None for a folder."""
        chance = random.Random(seed)
        names = dict(self._live)
        if loss in (Loss.ALL, Loss.SOME):
            names = dict(self._synced)
            kept = chance.randint(0, len(self._since)) if loss is Loss.SOME else 0
            for _, change in self._since[:kept]:
                change(names)
        return {
            os.path.relpath(path, self._root): file.after(loss, chance) if file is not None else None
            for path, file in sorted(names.items())
            if file is not None or path != self._root
        }

    def _rename(self, path: str, change: Callable[[Names], object]) -> None:
        change(self._live)
        self._since.append((str(Path(path).parent), change))


def lay_out(found: dict[str, bytes | None], folder: Path) -> None:
    """Put what is found into a new folder. What has lost its folder is lost with it."""
    folder.mkdir()
    for name, content in found.items():
        path = folder / name
        if not path.parent.is_dir():
            continue
        if content is None:
            path.mkdir(exist_ok=True)
        else:
            path.write_bytes(content)


def content_of(folder: Path) -> dict[str, bytes | None]:
    """What is there now, as `Disk.after` tells it."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


def _write(content: bytearray, offset: int, data: bytes) -> None:
    content.extend(bytes(max(0, offset - len(content))))
    content[offset : offset + len(data)] = data


def _truncate(content: bytearray, size: int) -> None:
    del content[size:]
    content.extend(bytes(size - len(content)))


def _sectors(offset: int, data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data):
        size = min(SECTOR - (offset + at) % SECTOR, len(data) - at)
        yield offset + at, data[at : at + size]
        at += size
