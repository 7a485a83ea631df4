"""A whole run with all that it does to its files and sends to Pleo, for a loss of power at any moment of it."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.network.fault_proxy import Fault
from tests.support.processes import PrefectServer
from tests.survival.killed_export import QUIET_S, Undisturbed, a_scene
from tests.survival.power_loss import Disk, Loss, Operation, content_of, environment, read_journal

FOLDERS = ("", "books", "storage", "tmp")


@dataclass(frozen=True)
class Recording:
    """One whole run: what it did to its files and sent to Pleo, and Pleo's state after each request that changed it."""

    operations: list[Operation]
    root: Path
    states: list[Path]

    def moments(self) -> Iterator[tuple[int, Disk, Told]]:
        """After each operation, and before the first: its number, the disk, what Pleo has been told."""
        disk, told = self.disk(), Told()
        yield 0, disk, told
        for number, one in enumerate(self.operations, 1):
            disk.apply(one)
            told.hear(one)
            yield number, disk, told

    def disk(self) -> Disk:
        """The disk before the run."""
        return Disk(self.root, [self.root / name for name in FOLDERS])


class Told:
    """What has been sent to Pleo: how many requests that change anything, and which items as successful, under which
    external ids."""

    def __init__(self) -> None:
        self.requests = 0
        self.successful: dict[str, str] = {}
        self._coming: dict[int, tuple[bytes, int]] = {}

    def hear(self, one: Operation) -> None:
        """Take in a record of the journal; a request counts once all of it has been sent."""
        if one.name != "send":
            return
        if one.data.startswith((b"PUT ", b"POST ")):
            length = re.search(rb"\r\ncontent-length: (\d+)\r\n", one.data, re.IGNORECASE)
            assert length is not None
            self._coming[one.file] = one.data.partition(b"\r\n\r\n")[2], int(length[1])
        elif one.data.startswith(b"GET "):
            self._coming.pop(one.file, None)  # of a run that was killed
        elif one.file in self._coming:
            body, size = self._coming[one.file]
            self._coming[one.file] = body + one.data, size
        for file, (body, size) in list(self._coming.items()):
            if len(body) == size:
                del self._coming[file]
                self.requests += 1
                document = json.loads(body)
                if isinstance(document, list):
                    self.successful |= {
                        one["accountingEntryId"]: one["externalId"] for one in document if one["status"] == "successful"
                    }


def record(
    folder: Path,
    place: str,
    shim: Path,
    expected: Undisturbed,
    server: PrefectServer,
    killed_after: int | None = None,
) -> Recording:
    """What is done to the files below `place`; with `killed_after` by a run that is killed after so many operations,
    and by the next one."""
    state, states = folder / "pleo.sqlite", list[Path]()

    def keep() -> None:
        states.append(folder / f"pleo-{len(states)}.sqlite")
        copy_state(state, states[-1])

    with a_scene(folder / "scene", server, state) as scene:
        (scene.folder / "prefect").mkdir()
        keep()
        scene.proxy.add(Fault(when=lambda seen: seen.method in ("PUT", "POST"), times=1000, after=keep))
        port = scene.proxy.address.rpartition(":")[2]
        followed = environment(shim, scene.folder / place, folder / "journal", port=port)
        if killed_after is not None:
            assert scene.killed(**followed, SHIM_KILL=str(killed_after), SHIM_PHASE="after") == ""
            assert scene.proxy.quiet(QUIET_S)
        scene.run(**followed)
        assert scene.end() == expected.end
        found = Recording(read_journal(folder / "journal"), scene.folder, states)
        after = content_of(scene.folder)
    *_, (_, disk, told) = found.moments()
    # Nothing that was done to the files has escaped.
    rebuilt = disk.after(Loss.NOTHING)
    assert {name: rebuilt[name] for name in rebuilt if name.startswith(place)} == {
        name: after[name] for name in after if name.startswith(place) and name not in ("settings.toml", "prefect")
    }
    assert told.requests == len(states) - 1
    assert len(told.successful) == sum(status == "successful" for _, status, *_ in expected.end.items)
    return found


def copy_state(state: Path, target: Path) -> None:
    """Copy what Pleo knows, while it changes nothing."""
    for suffix in ("", "-wal"):
        if Path(f"{state}{suffix}").exists():
            shutil.copyfile(f"{state}{suffix}", f"{target}{suffix}")
