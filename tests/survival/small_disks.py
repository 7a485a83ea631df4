"""Real small file systems for tests, which root alone can mount; a test that asks for one is skipped without."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(folder: Path, megabytes: int = 4) -> Iterator[Path]:
    """A file system of so many megabytes at `folder` while the context lasts."""
    folder.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("a small file system cannot be mounted: there is no mount command")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"a small file system cannot be mounted without root: {error.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(disk: Path, but: int = 0) -> None:
    """Fill a disk but for so many bytes."""
    filler, size = disk / "filler", 1 << 20
    with filler.open("wb", buffering=0) as file:
        while size:
            try:
                file.write(bytes(size))
            except OSError:
                size //= 2
    assert shutil.disk_usage(disk).free == 0
    os.truncate(filler, max(0, filler.stat().st_size - but))


def make_read_only(disk: Path) -> None:
    """Let nothing be written any more."""
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)


def mend(disk: Path) -> None:
    """Let the disk be written, and give it its room back."""
    subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
    (disk / "filler").unlink(missing_ok=True)
