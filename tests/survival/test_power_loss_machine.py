"""The machine that takes the power away: what it says was lost, for programs of a few lines."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.survival.power_loss import Disk, Loss, content_of, environment, read_journal

SAVE = """
import os, sys
def save(name, content, sync):
    with open(name + ".tmp", "wb") as file:
        file.write(content)
        file.flush()
        if "file" in sync:
            os.fsync(file.fileno())
    os.replace(name + ".tmp", name)
    if "folder" in sync:
        folder = os.open(".", os.O_RDONLY)
        os.fsync(folder)
save("letter", b"old", "file and folder")
save("letter", b"new", sys.argv[1])
"""


def _after(shim: Path, folder: Path, program: str, *arguments: str) -> Disk:
    """The disk after this program has run in its folder."""
    work, journal = folder / "work", folder / "journal"
    work.mkdir()
    followed = {**os.environ, **environment(shim, work, journal)}
    subprocess.run([sys.executable, "-c", program, *arguments], cwd=work, env=followed, check=True)
    disk = Disk(work, [work])
    for one in read_journal(journal):
        disk.apply(one)
    assert disk.after(Loss.NOTHING) == content_of(work)
    return disk


@pytest.mark.parametrize(
    ("sync", "loss", "found"),
    [
        ("file and folder", Loss.ALL, b"new"),
        ("file and folder", Loss.BYTES, b"new"),
        ("file", Loss.ALL, b"old"),
        ("file", Loss.BYTES, b"new"),
        ("folder", Loss.ALL, b""),
        ("folder", Loss.ZEROS, b"\0\0\0"),
        ("nothing", Loss.ALL, b"old"),
        ("nothing", Loss.BYTES, b""),
        ("nothing", Loss.NOTHING, b"new"),
    ],
)
def test_what_is_not_synced_is_lost_and_what_is_synced_is_not(
    shim: Path, tmp_path: Path, sync: str, loss: Loss, found: bytes
) -> None:
    assert _after(shim, tmp_path, SAVE, sync).after(loss) == {"letter": found}


def test_chance_lets_any_sectors_survive_and_the_same_seed_the_same_ones(shim: Path, tmp_path: Path) -> None:
    write = "file = open('sheet', 'r+b' if __import__('os').path.exists('sheet') else 'wb'); file.write(b'x' * 2048)"
    disk = _after(shim, tmp_path, write)
    found = [disk.after(Loss.SOME, seed).get("sheet") for seed in range(200)]
    assert found == [disk.after(Loss.SOME, seed).get("sheet") for seed in range(200)]
    whole = {one for one in found if one is not None}
    assert {b"", b"x" * 2048, bytes(512) + b"x" * 512} <= whole
    assert all(one[n : n + 512] in (b"x" * 512, bytes(512), b"") for one in whole for n in range(0, 2048, 512))


def test_a_program_is_killed_at_the_operation_that_was_asked_for(shim: Path, tmp_path: Path) -> None:
    for number, phase, left in [(1, "before", {}), (1, "after", {"a": b""}), (2, "after", {"a": b"1"})]:
        work = tmp_path / f"{number}-{phase}"
        work.mkdir()
        program = "import os\nfor name in 'ab':\n    open(name, 'w', buffering=1).write('1')"
        followed = {**os.environ, **environment(shim, work, tmp_path / "journal", kill=number, phase=phase)}
        done = subprocess.run([sys.executable, "-c", program], cwd=work, env=followed)
        assert done.returncode == -9
        assert content_of(work) == left
